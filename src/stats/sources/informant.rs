//! What the control socket tells of how things stand: the answers of `/api/v1/`, line by line.

use serde_json::{Value, json};

use super::{Sources, StickQuery};
use crate::control::{Answer, Informant, Kind, SticksQuestion};
use crate::operator;
use crate::stick::{AddressFilter, Cursor};

/// Entries of a page of the stick table.
const STICKS_PER_PAGE: usize = 1_000;
/// Groups that are looked at together.
const GROUPS_PER_LOOK: usize = 100;

impl Informant for Sources {
    fn status(&self) -> Box<dyn Iterator<Item = Answer> + '_> {
        let mut next = Some(None);
        let pages = std::iter::from_fn(move || {
            let (groups, is_more) = self.groups_page(GROUPS_PER_LOOK, next?);
            let last = groups.last().map(|group| group.id).filter(|_| is_more);
            next = last.map(Some);
            Some(groups)
        });
        let groups = pages
            .flatten()
            .map(|group| told(Kind::Progress, Ok(json!({ "group": group }))));
        let end = std::iter::once_with(|| {
            let (overview, health) = (self.overview(), self.health());
            let cluster = json!({ "raft": self.raft(), "peers": self.peers() });
            let end = json!({ "overview": overview, "health": health, "cluster": cluster });
            told(Kind::Done, Ok(end))
        });
        Box::new(groups.chain(end))
    }

    fn sticks(&self, question: &SticksQuestion) -> Answer {
        let page = self.stick_query(question).and_then(|query| {
            let page = self.sticks(&query);
            serde_json::to_value(page).map_err(|error| error.to_string())
        });
        told(Kind::Done, page)
    }
}

impl Sources {
    fn stick_query(&self, question: &SticksQuestion) -> Result<StickQuery, String> {
        let after = question.after.as_ref().map(|text| {
            let place = Cursor::parse(text);
            place.ok_or_else(|| format!("{text:?} is no place in the stick table"))
        });
        let group = question.group.as_ref().map(|wanted| {
            let generation = self.parts.proxy.generation();
            let found = operator::find(&generation.groups, wanted).map(|group| group.id.0);
            // A group that is not configured any more may still have entries.
            found.or_else(|refused| wanted.parse().map_err(|_| refused))
        });
        Ok(StickQuery {
            limit: STICKS_PER_PAGE,
            after: after.transpose()?,
            group: group.transpose()?,
            address: question.ip.as_deref().map(address).transpose()?,
        })
    }
}

fn address(text: &str) -> Result<AddressFilter, String> {
    let refused = |expected| format!("{text:?} found, expected {expected}");
    AddressFilter::parse(text).map_err(refused)
}

fn told(kind: Kind, data: Result<Value, String>) -> Answer {
    match data {
        Ok(data) => Answer::data(kind, data),
        Err(text) => Answer::failed(text),
    }
}
