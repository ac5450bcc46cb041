//! A new process that does not come to serve changes nothing.

use rustix::process::Signal;

use super::Generations;
use super::generations::until_ended;
use crate::on_both_engines;
use crate::support::gateway::{chat, post};
use crate::support::{Setup, mock};

const CHAT: &str = "/v1/chat/completions";
const ROLLED_BACK: &str = "the upgrade was rolled back";

on_both_engines! {
    fn a_startup_file_that_cannot_be_used_leaves_the_old_process_serving(engine) {
        let gateway = Generations::start(Setup::new(engine, mock()));
        let config = gateway.dir.path().join("config.json");
        let good = std::fs::read(&config).unwrap();
        std::fs::write(&config, "{\"proxy\": {\"workers\": \"many\"}}").unwrap();
        let old = gateway.newest();
        let mut kept = gateway.connect();
        kept.send(&post(CHAT, &chat("script/events=4,gap_ms=300", true)));
        kept.until(b"\"e0 ");
        gateway.signal_newest(Signal::USR2);
        let line = gateway.until_said(ROLLED_BACK, 1);
        assert_eq!(line["why"], "it ended before it served", "{line}");
        assert_eq!(gateway.newest(), old);
        kept.rest_of_stream();
        kept.send(&post(CHAT, &chat("m", false)));
        let answer = kept.response();
        assert_eq!((answer.status, answer.header("connection")), (200, None));
        std::fs::write(&config, good).unwrap();
        assert_ne!(gateway.upgrade(), old);
        drop(kept);
        until_ended(old);
        assert_eq!(gateway.post(CHAT, &chat("m", false)).status, 200);
    }

    fn one_that_hangs_holds_up_a_second_upgrade_and_not_the_end(engine) {
        let mut gateway = Generations::start(Setup::new(engine, mock()));
        // Opening it waits for a writer that never comes.
        let config = gateway.dir.path().join("config.json");
        std::fs::remove_file(&config).unwrap();
        let mode = rustix::fs::Mode::RUSR;
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &config, fifo, mode, 0).unwrap();
        gateway.signal_newest(Signal::USR2);
        let started = gateway.until_said("upgrade: a new process starts", 1);
        gateway.signal_newest(Signal::USR2);
        gateway.until_said("no upgrade: another one is under way", 1);
        assert_eq!(gateway.post(CHAT, &chat("m", false)).status, 200);
        gateway.signal_newest(Signal::TERM);
        assert_eq!(gateway.ended().code(), Some(0));
        let line = gateway.until_said(ROLLED_BACK, 1);
        assert_eq!(line["why"], "this process was told to stop", "{line}");
        let new = started["new_pid"].as_i64().unwrap();
        until_ended(i32::try_from(new).unwrap());
    }
}
