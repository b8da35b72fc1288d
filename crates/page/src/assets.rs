//! The files beside the pages: one style, one script, one icon. They change only with the program.

/// A file beside the pages.
#[derive(Clone, Copy, Debug)]
pub struct PageAsset {
    /// Where it is.
    pub path: &'static str,
    /// What it is.
    pub media_type: &'static str,
    /// What is in it.
    pub text: &'static str,
}

/// How pages look.
pub const STYLE: PageAsset = PageAsset {
    path: "/page.css",
    media_type: "text/css; charset=utf-8",
    text: include_str!("../assets/page.css"),
};

/// What keeps a page up to date. Without it everything works by itself.
pub const SCRIPT: PageAsset = PageAsset {
    path: "/page.js",
    media_type: "text/javascript; charset=utf-8",
    text: include_str!("../assets/page.js"),
};

/// The icon.
pub const FAVICON: PageAsset = PageAsset {
    path: "/page.svg",
    media_type: "image/svg+xml",
    text: include_str!("../assets/page.svg"),
};
