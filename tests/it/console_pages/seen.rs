//! What is seen of a page.

use crate::app::Answer;

/// What somebody might type to do harm, or to break a page.
pub const HOSTILE: [&str; 6] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "</textarea><svg onload=alert(1)>",
    "javascript:alert(1)",
    "{{7*7}}",
    "\u{202e}gnp.exe",
];

/// The page is whole, small, and holds nothing that runs, whatever was typed.
#[track_caller]
pub fn is_sound(page: &Answer) {
    super::html::check(page);
    let text = &page.text;
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"), "{}", page.what);
    assert_eq!(page.header("cache-control"), "no-store", "{}", page.what);
    assert_eq!(text.matches("<h1>").count(), 1, "{}: {text}", page.what);
    assert!(text.ends_with("</html>") || text.ends_with("</html>\n"), "{}", page.what);
    assert!(text.len() < 60 * 1024, "{}: {} bytes", page.what, text.len());
    // One script, which is ours.
    assert_eq!(text.matches("<script").count(), 1, "{}: {text}", page.what);
    for bad in ["<script>", "<svg onload", "<img src=x", "style=\"", "href=\"javascript:", "\u{202e}"] {
        assert!(!text.contains(bad), "{bad} in {}: {text}", page.what);
    }
}

/// What stands in a hidden field of a page.
#[track_caller]
pub fn hidden(page: &Answer, name: &str) -> String {
    let before = format!("name=\"{name}\" value=\"");
    let rest = page.text.split_once(&before).unwrap_or_else(|| panic!("no {name} in {}: {}", page.what, page.text)).1;
    rest.split('"').next().unwrap().to_owned()
}

/// Whether each of these texts is in the page.
#[track_caller]
pub fn shows(page: &Answer, texts: &[&str]) {
    for text in texts {
        assert!(page.text.contains(text), "no {text} in {}: {}", page.what, page.text);
    }
}

/// Whether none of these texts is in the page.
#[track_caller]
pub fn hides(page: &Answer, texts: &[&str]) {
    for text in texts {
        assert!(!page.text.contains(text), "{text} in {}: {}", page.what, page.text);
    }
}
