//! `packaging/debian/copyright`: whose work is in the binary, and on which terms.
