//! `aipipe top`: the dashboard in the terminal. It watches a running gateway over its admin API, as the page does, and changes nothing.

mod screen;
mod view;
mod watch;

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::widgets::Widget;
use tokio::sync::{mpsc, watch as latest};
use url::Url;

use super::{configuration, failed, print};
use crate::config::Config;
use screen::Screen;
use view::Seen;
use watch::Watch;

/// The size of a frame that is printed: what every terminal has.
const PRINTED: Rect = Rect::new(0, 0, 80, 24);
/// Ages on the screen grow while nothing else happens.
const TICK: Duration = Duration::from_secs(1);
/// Keys that wait to be looked at.
const KEYS: usize = 16;

/// What `top` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the gateway is; without it the configured listen address
    #[arg(long)]
    url: Option<Url>,
    /// Print one frame of 80 by 24 as text, and end
    #[arg(long)]
    once: bool,
}

/// Watches until q is pressed; 1 where the gateway cannot be watched.
pub(super) fn run(file: Option<&Path>, arguments: &Arguments) -> ExitCode {
    let (config, _) = match configuration(file) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let shown = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(show(&config, arguments)));
    match shown {
        Ok(Some(frame)) => print(&frame),
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => {
            failed(&error);
            ExitCode::FAILURE
        }
    }
}

/// A frame to be printed, or `None` where all was shown.
async fn show(config: &Config, arguments: &Arguments) -> anyhow::Result<Option<String>> {
    let watch = Watch::new(config, arguments.url.as_ref())?;
    if arguments.once {
        let seen = Seen { at: watch.address(), snapshot: Some(watch.first().await?), trouble: None };
        return Ok(Some(printed(&seen, Timestamp::now())));
    }
    // A secret that is wrong is told before the screen changes.
    let first = watch.first().await?;
    let seen = Seen { at: watch.address(), snapshot: Some(first), trouble: None };
    let (sender, receiver) = latest::channel(seen);
    let watching = tokio::spawn(watch.follow(sender));
    let mut terminal = ratatui::try_init()?;
    let shown = live(&mut terminal, receiver).await;
    ratatui::restore();
    watching.abort();
    shown.map(|()| None)
}

async fn live(terminal: &mut ratatui::DefaultTerminal, mut seen: latest::Receiver<Seen>) -> anyhow::Result<()> {
    let mut events = keys();
    loop {
        terminal.draw(|frame| {
            let seen = seen.borrow_and_update();
            frame.render_widget(Screen { seen: &seen, now: Timestamp::now() }, frame.area());
        })?;
        tokio::select! {
            event = events.recv() => match event {
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(event)) if !ends(&event) => {}
                Some(Ok(_)) | None => return Ok(()),
            },
            // Where nobody watches any more, the last frame stays until q is pressed.
            Ok(()) = seen.changed() => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// What the terminal says. The thread that reads it ends with the process: nothing else wakes it.
fn keys() -> mpsc::Receiver<io::Result<Event>> {
    let (sender, receiver) = mpsc::channel(KEYS);
    std::thread::spawn(move || {
        loop {
            let event = ratatui::crossterm::event::read();
            let is_last = event.is_err();
            if sender.blocking_send(event).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

fn ends(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let is_interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press && (is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

/// A frame as text.
fn printed(seen: &Seen, now: Timestamp) -> String {
    let mut buffer = Buffer::empty(PRINTED);
    Screen { seen, now }.render(PRINTED, &mut buffer);
    let lines = buffer.content().chunks(usize::from(PRINTED.width));
    lines.map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned() + "\n").collect()
}
