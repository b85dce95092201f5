//! The dashboard: one page of plain HTML, CSS and JavaScript, part of the program.
//!
//! The page knows the gateway only by its admin API. Its script is in modules by what they show; `dom.js` is the only one that makes
//! elements, and text is the only thing that data ever becomes.

/// A file of the dashboard.
#[derive(Debug)]
pub struct Asset {
    /// Its name below `/admin/assets/`.
    pub name: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// What it holds.
    pub content: &'static str,
}

/// The page itself.
pub const INDEX: &str = "index.html";

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Embeds files of this folder.
macro_rules! assets {
    ($($name:literal: $content_type:expr),* $(,)?) => {
        &[$(Asset { name: $name, content_type: $content_type, content: include_str!($name) }),*]
    };
}

/// Every file.
pub const ASSETS: &[Asset] = assets! {
    "index.html": "text/html; charset=utf-8",
    "app.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "app.js": SCRIPT,
    "api.js": SCRIPT,
    "dom.js": SCRIPT,
    "format.js": SCRIPT,
    "health.js": SCRIPT,
    "money.js": SCRIPT,
    "plot.js": SCRIPT,
    "requests.js": SCRIPT,
    "tenants.js": SCRIPT,
    "tree.js": SCRIPT,
};

/// The file of this name.
pub fn asset(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}
