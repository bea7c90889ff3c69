//! A real browser: Chromium without a window, driven by its DevTools protocol over a WebSocket.
//!
//! Everything is blocking and in one thread. What the browser tells unasked (errors, violated
//! policies, requests) is kept while answers are waited for, and judged at the end.

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Error, Message, WebSocket};

use crate::support::wait::{PATIENCE, eventually, holds_within};

/// How long one read of the socket waits before the deadline is looked at.
const READ_SLICE: Duration = Duration::from_millis(50);

/// No waiting for windows, sounds, updates or anybody else's servers.
const FLAGS: [&str; 14] = [
    "--headless=new",
    "--no-sandbox", // root has none, and the pages are our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-sync",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--remote-debugging-port=0",
];

/// A browser with one open page.
#[derive(Debug)]
pub struct Browser {
    socket: WebSocket<TcpStream>,
    session: String,
    last_call: u64,
    told: Vec<Value>,
    child: Child,
    // Both are held for the browser: who closes its standard error ends it.
    _stderr: BufReader<ChildStderr>,
    _profile: TempDir,
}

impl Browser {
    /// Starts the program and opens an empty page.
    pub fn start(program: &Path) -> Browser {
        let profile = tempfile::Builder::new()
            .prefix("tcpffee-browser-")
            .tempdir();
        let profile = profile.expect("a temporary directory can be made");
        let mut command = crate::real::command(program, crate::real::User::Same);
        let mut child = command
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0) // its many processes end together
            .spawn()
            .expect("the browser can be started");
        let mut stderr = BufReader::new(child.stderr.take().expect("standard error is a pipe"));
        let socket = connect(&devtools_address(&mut stderr));
        let mut browser = Browser {
            socket,
            session: String::new(),
            last_call: 0,
            told: Vec::new(),
            child,
            _stderr: stderr,
            _profile: profile,
        };
        browser.open_page();
        browser
    }

    fn open_page(&mut self) {
        let page = self.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": page["targetId"], "flatten": true});
        let attached = self.call("Target.attachToTarget", attach);
        self.session = text(&attached["sessionId"]);
        for domain in ["Page", "Runtime", "Log", "Network", "Audits"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
    }

    /// Goes to an address.
    pub fn go(&mut self, url: &str) {
        let answer = self.call("Page.navigate", json!({"url": url}));
        assert_eq!(answer["errorText"], Value::Null, "{url}");
    }

    /// The colours, and the width in pixels.
    pub fn look_as(&mut self, theme: &str, width: u32) {
        let features = json!([{"name": "prefers-color-scheme", "value": theme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
        let size = json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// What a JavaScript expression gives, as JSON.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", asked);
        let thrown = &answer["exceptionDetails"];
        assert_eq!(*thrown, Value::Null, "{expression}");
        answer["result"]["value"].clone()
    }

    /// Waits until a JavaScript expression is true.
    pub fn wait_until(&mut self, what: &str, expression: &str) {
        eventually(what, || self.evaluate(expression) == json!(true));
    }

    /// Waits until the text of the element that a selector finds has these words.
    pub fn wait_text(&mut self, selector: &str, words: &str) {
        let expression = text_of(selector);
        let mut last = String::new();
        let holds = holds_within(PATIENCE, || {
            last = text(&self.evaluate(&expression));
            last.contains(words)
        });
        assert!(holds, "{selector} does not say {words:?} but {last:?}");
    }

    /// The text of the element that a selector finds, empty where there is none.
    pub fn text(&mut self, selector: &str) -> String {
        let found = self.evaluate(&text_of(selector));
        text(&found)
    }

    /// Clicks at the element that a selector finds, once it is there.
    pub fn click(&mut self, selector: &str) {
        let found = json!(selector);
        self.wait_until(
            &format!("{selector} is there to be clicked"),
            &format!(
                "(() => {{ const found = document.querySelector({found}); found?.click(); \
                 return found !== null; }})()"
            ),
        );
    }

    /// Types into the element that has the focus, key by key as far as the page can tell.
    pub fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Presses and releases Enter.
    pub fn press_enter(&mut self) {
        for kind in ["keyDown", "keyUp"] {
            let key = json!({
                "type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13,
                "text": "\r",
            });
            self.call("Input.dispatchKeyEvent", key);
        }
    }

    /// Everything that no page of ours may ever cause: errors in scripts or on the console,
    /// violated policies. That the proxy does not answer is not the page's fault and not among it.
    pub fn complaints(&mut self) -> Vec<String> {
        self.evaluate("1"); // whatever was told before this answer is in by now
        let complaints = self.told.iter().filter(|told| is_complaint(told));
        complaints.map(Value::to_string).collect()
    }

    /// The addresses that were asked for, `data:` left out.
    pub fn requests(&mut self) -> Vec<String> {
        self.evaluate("1");
        let sent = self.told_as("Network.requestWillBeSent");
        let addresses = sent.map(|told| text(&told["params"]["request"]["url"]));
        addresses.filter(|url| !url.starts_with("data:")).collect()
    }

    /// Answers that were neither 200 nor an accepted redirect, with their addresses.
    pub fn failed_answers(&mut self) -> Vec<String> {
        self.evaluate("1");
        let received = self.told_as("Network.responseReceived");
        let answers = received.map(|told| &told["params"]["response"]);
        let failed = answers.filter(|answer| answer["status"].as_u64().is_none_or(|s| s >= 400));
        failed
            .map(|answer| format!("{} {}", answer["status"], answer["url"]))
            .collect()
    }

    fn told_as<'a>(&'a self, method: &'a str) -> impl Iterator<Item = &'a Value> {
        self.told
            .iter()
            .filter(move |told| told["method"] == method)
    }

    /// One call, and its result.
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_call += 1;
        let mut call = json!({"id": self.last_call, "method": method, "params": params});
        if !self.session.is_empty() {
            call["sessionId"] = json!(self.session);
        }
        let sent = self.socket.send(Message::text(call.to_string()));
        sent.unwrap_or_else(|error| panic!("the browser takes {method}: {error}"));
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "no answer to {method}");
            let Some(message) = self.receive() else {
                continue;
            };
            if message["id"] == json!(self.last_call) {
                assert_eq!(message["error"], Value::Null, "{method}");
                return message["result"].clone();
            }
            self.told.push(message);
        }
    }

    /// The next message, `None` where none came within [`READ_SLICE`].
    fn receive(&mut self) -> Option<Value> {
        match self.socket.read() {
            Ok(Message::Text(text)) => Some(serde_json::from_str(&text).expect("it speaks JSON")),
            Ok(_) => None,
            Err(Error::Io(error)) if is_timeout(error.kind()) => None,
            Err(error) => panic!("the browser is gone: {error}"),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let wrong = self.told.iter().filter(|told| is_complaint(told));
            wrong.for_each(|told| eprintln!("the browser said: {told}"));
        }
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Reads on until the browser says where it is to be driven from.
fn devtools_address(stderr: &mut BufReader<ChildStderr>) -> String {
    let mut said = String::new();
    for line in stderr.lines() {
        let line = line.expect("standard error can be read");
        if let Some(address) = line.strip_prefix("DevTools listening on ") {
            return address.to_owned();
        }
        said.push_str(&line);
        said.push('\n');
    }
    panic!("the browser ended at start: {said}");
}

fn connect(address: &str) -> WebSocket<TcpStream> {
    let place = address.trim_start_matches("ws://").split('/').next();
    let stream = TcpStream::connect(place.expect("an address has a host"));
    let stream = stream.expect("the browser listens where it says");
    let (socket, _) = tungstenite::client(address, stream).expect("it speaks WebSocket");
    let slice = socket.get_ref().set_read_timeout(Some(READ_SLICE));
    slice.expect("a time-out can be set");
    socket
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn is_complaint(told: &Value) -> bool {
    let params = &told["params"];
    match told["method"].as_str().unwrap_or_default() {
        "Runtime.exceptionThrown" => true,
        "Runtime.consoleAPICalled" => ["error", "warning", "assert"]
            .iter()
            .any(|kind| params["type"] == *kind),
        "Log.entryAdded" => {
            params["entry"]["source"] != "network" && params["entry"]["level"] == "error"
        }
        "Audits.issueAdded" => params["issue"]["code"] == "ContentSecurityPolicyIssue",
        _ => false,
    }
}

fn text_of(selector: &str) -> String {
    let selector = json!(selector);
    format!("document.querySelector({selector})?.textContent ?? \"\"")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
