//! The book holds together: its pages are in the summary and in the doctests, its links lead somewhere, and its pictures are
//! there, are XML, and say in words what they show.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// Where files of the repository are, for whoever reads the book.
const REPOSITORY: &str = "https://github.com/relab/gorums-rs/blob/main/";

fn guide() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn source() -> PathBuf {
    guide().join("src")
}

fn repository() -> PathBuf {
    guide().join("../..").canonicalize().unwrap()
}

/// What a page refers to, and can be referred to by.
#[derive(Debug, Default)]
struct Page {
    links: Vec<String>,
    /// Where each picture is, and what it shows.
    pictures: Vec<(String, String)>,
    anchors: BTreeSet<String>,
    /// The first word of the language of each block of code, and its text.
    code: Vec<(String, String)>,
}

impl Page {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut page = Self::default();
        let mut heading: Option<String> = None;
        let mut picture: Option<(String, String)> = None;
        let mut in_code = false;
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. }) => page.links.push(dest_url.to_string()),
                Event::Start(Tag::Image { dest_url, .. }) => {
                    picture = Some((dest_url.to_string(), String::new()));
                }
                Event::End(TagEnd::Image) => page.pictures.extend(picture.take()),
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => page.add_anchor(&heading.take().unwrap()),
                Event::Start(Tag::CodeBlock(kind)) => {
                    let CodeBlockKind::Fenced(language) = kind else {
                        panic!("{}: an indented block", path.display())
                    };
                    page.code.push((language.to_string(), String::new()));
                    in_code = true;
                }
                Event::End(TagEnd::CodeBlock) => in_code = false,
                Event::Text(text) if in_code => page.code.last_mut().unwrap().1.push_str(&text),
                Event::Text(text) | Event::Code(text) => {
                    if let Some((_, words)) = &mut picture {
                        words.push_str(&text);
                    } else if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                _ => {}
            }
        }
        page
    }

    /// The anchor of a heading, as GitHub and mdBook make it.
    fn add_anchor(&mut self, heading: &str) {
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let anchor = anchor.to_lowercase();
        assert!(self.anchors.insert(anchor.clone()), "two headings have the anchor #{anchor}");
    }
}

/// The pages of the book, by their names.
fn pages() -> BTreeMap<String, Page> {
    let files = fs::read_dir(source()).unwrap().map(|entry| entry.unwrap().path());
    let pages = files.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let named = pages.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), Page::read(&path)));
    named.filter(|(name, _)| name != "SUMMARY.md").collect()
}

fn names(pages: &BTreeMap<String, Page>) -> BTreeSet<String> {
    pages.keys().cloned().collect()
}

#[test]
fn every_page_is_in_the_summary_and_the_reverse() {
    let links = Page::read(&source().join("SUMMARY.md")).links;
    let listed: BTreeSet<_> = links.iter().cloned().collect();
    assert_eq!(listed.len(), links.len(), "a page is listed twice");
    assert_eq!(listed, names(&pages()));
}

/// `lib.rs` names the pages one by one, so that each has a name in the output of the tests.
#[test]
fn the_code_of_every_page_is_compiled() {
    let library = fs::read_to_string(guide().join("lib.rs")).unwrap();
    for (name, page) in pages() {
        assert!(library.contains(&format!(": \"{name}\"")), "{name} is not in lib.rs");
        for (language, _) in page.code {
            let ignored = language.split(',').any(|word| matches!(word, "ignore" | "text" | ""));
            assert!(!language.starts_with("rust") || !ignored, "{name} has Rust that is not compiled");
            assert!(!language.is_empty(), "{name} has a block of code without a language");
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let mut broken = Vec::new();
    let mut others = BTreeMap::new();
    for (name, page) in &pages {
        for link in &page.links {
            if !leads_somewhere(name, link, &pages, &mut others) {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

fn leads_somewhere(
    from: &str,
    link: &str,
    pages: &BTreeMap<String, Page>,
    others: &mut BTreeMap<PathBuf, Page>,
) -> bool {
    let (target, anchor) =
        link.split_once('#').map_or((link, None), |(target, anchor)| (target, Some(anchor)));
    if let Some(path) = target.strip_prefix(REPOSITORY) {
        let path = repository().join(path);
        let inside = !path.components().any(|part| part == Component::ParentDir);
        let Some(anchor) = anchor else { return inside && path.is_file() };
        if !inside || !path.is_file() {
            return false;
        }
        let page = others.entry(path).or_insert_with_key(|path| Page::read_anchors(path));
        return page.anchors.contains(anchor);
    }
    if target.starts_with("https://") {
        return true;
    }
    let target = if target.is_empty() { from } else { target };
    let Some(page) = pages.get(target) else { return false };
    anchor.is_none_or(|anchor| page.anchors.contains(anchor))
}

impl Page {
    /// Only the anchors, of a file that is no page of the book, where the same heading may come again.
    fn read_anchors(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let mut page = Self::default();
        let headings = text.lines().filter(|line| line.starts_with('#'));
        for heading in headings {
            let mut one = Self::default();
            one.add_anchor(&heading.trim_start_matches('#').replace('`', ""));
            page.anchors.append(&mut one.anchors);
        }
        page
    }
}

#[test]
fn every_picture_is_there_and_says_what_it_shows() {
    let mut used = BTreeSet::new();
    for (name, page) in pages() {
        for (picture, words) in page.pictures {
            assert!(words.split_whitespace().count() >= 4, "{name}: {picture} needs alternative text");
            used.insert(picture);
        }
    }
    let folder = fs::read_dir(source().join("pictures")).unwrap();
    let there: BTreeSet<_> =
        folder.map(|entry| format!("pictures/{}", entry.unwrap().file_name().to_str().unwrap())).collect();
    assert_eq!(used, there);
    for picture in there {
        let text = fs::read_to_string(source().join(&picture)).unwrap();
        let document = roxmltree::Document::parse(&text).unwrap_or_else(|error| panic!("{picture}: {error}"));
        assert!(document.root_element().has_tag_name(("http://www.w3.org/2000/svg", "svg")), "{picture}");
        assert!(
            document.descendants().any(|node| node.tag_name().name() == "title"),
            "{picture} needs a title"
        );
    }
}

/// What a page shows of a file is what is in it.
#[test]
fn the_proto_file_is_the_one_that_is_compiled() {
    let file = fs::read_to_string(guide().join("proto/storage.proto")).unwrap();
    let page = Page::read(&source().join("proto.md"));
    assert!(page.code.iter().any(|(language, text)| language == "proto" && *text == file));
}
