//! Whether a page is well-formed, and keeps the rules that all pages keep.

use std::collections::BTreeSet;

use crate::app::Answer;

/// Elements without an end (HTML, section 13.1.2).
const VOID: [&str; 6] = ["meta", "link", "input", "img", "br", "hr"];

/// One tag: its name, whether it ends an element or itself, its attributes.
#[derive(Debug)]
pub struct Tag {
    pub name: String,
    pub ends: bool,
    pub closed: bool,
    pub attributes: Vec<(String, Option<String>)>,
}

impl Tag {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_deref().unwrap_or_default())
    }

    fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|(other, _)| other == name)
    }
}

/// The tags of a page. Text outside of them may hold no bare `<`.
#[track_caller]
pub fn tags(html: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut rest = html.strip_prefix("<!doctype html>").expect("a doctype");
    while let Some((text, after)) = rest.split_once('<') {
        assert!(!text.contains('>'), "a bare > in {text:?}");
        let end = end_of(after);
        tags.push(read(&after[..end]));
        rest = &after[end + 1..];
    }
    assert!(!rest.contains('>'), "{rest:?}");
    tags
}

/// Where a tag ends: attributes may hold anything but quotes.
fn end_of(tag: &str) -> usize {
    let mut quoted = false;
    for (place, c) in tag.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '>' if !quoted => return place,
            '<' => panic!("a < within a tag: {}", &tag[..tag.len().min(200)]),
            _ => {}
        }
    }
    panic!("a tag without an end: {tag}");
}

fn read(tag: &str) -> Tag {
    let ends = tag.starts_with('/');
    let closed = tag.ends_with('/');
    let tag = tag.trim_matches('/');
    let (name, mut rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            break;
        }
        let length = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let attribute = rest[..length].to_owned();
        rest = &rest[length..];
        match rest.strip_prefix("=\"") {
            Some(value) => {
                let (value, after) = value.split_once('"').expect("a quote that ends");
                attributes.push((attribute, Some(value.to_owned())));
                rest = after;
            }
            None => {
                assert!(!rest.starts_with('='), "an attribute without quotes: {tag}");
                attributes.push((attribute, None));
            }
        }
    }
    Tag { name: name.to_owned(), ends, closed, attributes }
}

/// Fails unless the page is one that the console may answer: well-formed, nothing inline, everything named and described.
#[track_caller]
pub fn check(page: &Answer) {
    let what = &page.what;
    assert!(page.header("content-type").starts_with("text/html"), "{what}: {page:?}");
    assert_eq!(page.header("cache-control"), "no-store", "{what}");
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self'; ") && !policy.contains("unsafe")
    );
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("form-action 'self'"), "{policy}");
    let tags = tags(&page.text);
    nested(&tags, what);
    let (mut ids, mut pointed_at) = (BTreeSet::new(), Vec::new());
    for tag in tags.iter().filter(|tag| !tag.ends) {
        let mut names = BTreeSet::new();
        for (name, value) in &tag.attributes {
            assert!(names.insert(name), "{what}: {name} twice in {tag:?}");
            assert!(!name.starts_with("on") && name != "style", "{what}: inline {name} in {tag:?}");
            let value = value.as_deref().unwrap_or_default();
            match name.as_str() {
                "id" => assert!(!value.is_empty() && ids.insert(value.to_owned()), "{what}: the id {value} twice"),
                "for" | "aria-describedby" | "aria-labelledby" => {
                    pointed_at.extend(value.split_whitespace().map(ToOwned::to_owned));
                }
                "href" if value.starts_with('#') => pointed_at.push(value[1..].to_owned()),
                "href" | "src" | "action" => {
                    assert!(value.starts_with('/') && !value.starts_with("//"), "{what}: {value} leads elsewhere");
                }
                _ => {}
            }
        }
        match tag.name.as_str() {
            "script" => assert!(tag.has("src"), "{what}: an inline script"),
            "style" => panic!("{what}: an inline style"),
            "img" => assert!(tag.has("alt"), "{what}: an image without a text"),
            _ => {}
        }
    }
    for id in pointed_at {
        assert!(ids.contains(&id), "{what}: nothing has the id {id}");
    }
    labelled(&tags, what);
    let count = |name: &str| tags.iter().filter(|tag| tag.name == name && !tag.ends).count();
    assert_eq!((count("h1"), count("main"), count("head")), (1, 1, 1), "{what}");
    let titled = page.text.split_once("<title>").unwrap().1;
    assert!(titled.split_once("</title>").unwrap().0.ends_with(" · Countermark"), "{what}");
    for form in tags.iter().filter(|tag| tag.name == "form" && tag.get("method") == Some("post")) {
        assert!(form.get("action").is_some_and(|action| action.starts_with("/console/")), "{what}: {form:?}");
    }
    assert!(page.text.len() < 60_000, "{what}: {} bytes", page.text.len());
}

#[track_caller]
fn nested(tags: &[Tag], what: &str) {
    let mut open: Vec<&str> = Vec::new();
    for tag in tags {
        if tag.ends {
            assert_eq!(open.pop(), Some(tag.name.as_str()), "{what}: </{}> within {open:?}", tag.name);
        } else if !tag.closed && !VOID.contains(&tag.name.as_str()) {
            // Paragraphs end where blocks begin, whatever the text says.
            let block = ["p", "div", "ul", "ol", "dl", "table", "form", "section", "fieldset", "pre"];
            assert!(!(block.contains(&tag.name.as_str()) && open.contains(&"p")), "{what}: <{}> in <p>", tag.name);
            open.push(&tag.name);
        }
    }
    assert!(open.is_empty(), "{what}: {open:?} are left open");
}

/// Every field has a label: by `for`, or around it, or it is hidden.
#[track_caller]
fn labelled(tags: &[Tag], what: &str) {
    let labels: BTreeSet<&str> =
        tags.iter().filter(|tag| tag.name == "label").filter_map(|tag| tag.get("for")).collect();
    let mut within = 0;
    for tag in tags {
        match tag.name.as_str() {
            "label" if tag.ends => within -= 1,
            "label" => within += 1,
            "input" | "select" | "textarea" if !tag.ends && tag.get("type") != Some("hidden") => {
                let named = tag.get("id").is_some_and(|id| labels.contains(id));
                assert!(named || within > 0, "{what}: no label for {tag:?}");
            }
            _ => {}
        }
    }
}

/// The links of a page to others of the console, without what stands behind `#`.
pub fn links(page: &Answer) -> BTreeSet<String> {
    let tags = tags(&page.text);
    let hrefs = tags.iter().filter(|tag| tag.name == "a").filter_map(|tag| tag.get("href"));
    let links = hrefs.filter(|href| *href == "/console" || href.starts_with("/console/"));
    links.map(|href| super::unescaped(href).split('#').next().unwrap().to_owned()).collect()
}

/// Where the forms of a page that change something are sent.
pub fn actions(page: &Answer) -> BTreeSet<String> {
    let tags = tags(&page.text);
    let forms = tags.iter().filter(|tag| tag.name == "form" && tag.get("method") == Some("post"));
    forms.filter_map(|tag| tag.get("action")).map(ToOwned::to_owned).collect()
}

/// What a page says, without its tags, with entities as the characters that they stand for.
pub fn text(page: &Answer) -> String {
    let mut text = String::new();
    let mut rest = page.text.as_str();
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        rest = &after[end_of(after) + 1..];
    }
    text.push_str(rest);
    super::unescaped(&text).split_whitespace().collect::<Vec<_>>().join(" ")
}
