//! A form: what stands in its fields, and what is wrong with it. What was typed is never lost.

use std::collections::BTreeMap;

use askama::Template;
use askama::filters::HtmlSafe;

use super::notice::why;
use super::parts::tame;
use super::visit::Fields;
use crate::http::Problem;
use crate::web::FieldError;

/// What nobody is shown again, and what nothing keeps.
const SECRETS: [&str; 5] = ["password", "repeated", "present", "token", "link"];

/// The longest that an error is told.
const MESSAGE: usize = 500;

/// What is wrong is told with what was typed, which may turn the text around it.
fn tamed(error: FieldError) -> FieldError {
    FieldError { message: tame(&error.message, MESSAGE), ..error }
}

/// What stands in the fields of a form, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Form {
    values: BTreeMap<String, String>,
    errors: Vec<FieldError>,
    /// What is wrong with it as a whole.
    trouble: Option<String>,
    problem: Option<Problem>,
}

impl Form {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this in a field.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.values.insert(name.into(), value.into());
        self
    }

    /// With what is wrong with its fields.
    #[must_use]
    pub fn wrong_with(mut self, errors: Vec<FieldError>) -> Self {
        self.errors.extend(errors.into_iter().map(tamed));
        self
    }

    /// As it was sent, with what is wrong with its fields.
    pub fn wrong(fields: &Fields, errors: Vec<FieldError>) -> Self {
        Self::refused(fields, crate::authority::Error::Invalid(errors).into())
    }

    /// As it was sent, with why it was refused: beside the fields that it is about, or else at the top.
    pub fn refused(fields: &Fields, problem: Problem) -> Self {
        let mut form = Self::sent(fields);
        form.errors = problem.told().errors.iter().cloned().map(tamed).collect();
        if form.errors.is_empty() {
            form.trouble = Some(tame(&why(&problem), MESSAGE));
        }
        form.problem = Some(problem);
        form
    }

    /// As it was sent.
    pub fn sent(fields: &Fields) -> Self {
        let kept = fields.with_prefix("").filter(|(name, _)| !SECRETS.contains(name));
        let values = kept.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { values, ..Self::default() }
    }

    /// What is wrong, moved from one field to another: the authority's names are those of the API.
    #[must_use]
    pub fn naming(mut self, from: &str, to: &str) -> Self {
        self.errors.iter_mut().filter(|error| error.field == from).for_each(|error| to.clone_into(&mut error.field));
        self
    }

    /// What is wrong as a whole, as something that is wrong with one field.
    #[must_use]
    pub fn beside(mut self, field: &str) -> Self {
        if let Some(message) = self.trouble.take() {
            self.errors.push(FieldError { field: field.to_owned(), message });
        }
        self
    }

    /// The problem that the page tells, if there is one: for [`Page::telling`](super::shell::Page::telling).
    pub fn problem(&self) -> Option<&Problem> {
        self.problem.as_ref()
    }

    /// What stands in a field.
    pub fn value(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// What is wrong with a field.
    pub fn error(&self, name: &str) -> Option<&str> {
        self.errors.iter().find(|error| error.field == name).map(|error| error.message.as_str())
    }

    /// What is wrong, for the top of the form. Nothing where nothing is.
    pub fn summary(&self) -> Summary<'_> {
        Summary { trouble: self.trouble.as_deref(), errors: &self.errors }
    }

    /// A line of text.
    pub fn text<'a>(&'a self, name: &'a str, label: &'a str) -> Field<'a> {
        self.field(name, label, Control::Line("text"))
    }

    /// A line of this type: `password`, `search`, `datetime-local`, `number`.
    pub fn line<'a>(&'a self, kind: &'static str, name: &'a str, label: &'a str) -> Field<'a> {
        let field = self.field(name, label, Control::Line(kind));
        // A secret that was typed goes back to nobody.
        if kind == "password" { Field { value: "", ..field } } else { field }
    }

    /// Several lines of text.
    pub fn area<'a>(&'a self, name: &'a str, label: &'a str, rows: u8) -> Field<'a> {
        self.field(name, label, Control::Area(rows))
    }

    /// One of a list.
    pub fn select<'a>(&'a self, name: &'a str, label: &'a str, choices: &'a [Choice]) -> Field<'a> {
        self.field(name, label, Control::Select(choices))
    }

    /// One of a few, all of which are seen.
    pub fn radios<'a>(&'a self, name: &'a str, label: &'a str, choices: &'a [Choice]) -> Field<'a> {
        self.field(name, label, Control::Radios(choices))
    }

    /// Yes (`yes`) or nothing.
    pub fn check<'a>(&'a self, name: &'a str, label: &'a str) -> Field<'a> {
        self.field(name, label, Control::Check)
    }

    fn field<'a>(&'a self, name: &'a str, label: &'a str, control: Control<'a>) -> Field<'a> {
        Field {
            name,
            label,
            control,
            value: self.value(name),
            error: self.error(name),
            hint: "",
            required: false,
            autocomplete: "off",
            list: "",
        }
    }
}

/// One of a list: what is sent, what is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What is sent.
    pub value: String,
    /// What is read.
    pub label: String,
}

impl Choice {
    /// What is sent, what is read.
    pub fn new(value: impl Into<String>, label: impl Into<String>) -> Self {
        Self { value: value.into(), label: label.into() }
    }

    /// What is read is what is sent.
    pub fn plain(value: impl Into<String>) -> Self {
        let value = value.into();
        Self { label: value.clone(), value }
    }
}

#[derive(Debug, Clone, Copy)]
enum Control<'a> {
    Line(&'static str),
    Area(u8),
    Select(&'a [Choice]),
    Radios(&'a [Choice]),
    Check,
}

/// A field with its label, what to type, and what is wrong with what was.
#[derive(Template)]
#[template(path = "console/parts/field.html")]
pub struct Field<'a> {
    name: &'a str,
    label: &'a str,
    control: Control<'a>,
    value: &'a str,
    error: Option<&'a str>,
    hint: &'a str,
    required: bool,
    autocomplete: &'a str,
    list: &'a str,
}

impl HtmlSafe for Field<'_> {}

impl<'a> Field<'a> {
    /// What to type, and what comes of it.
    #[must_use]
    pub fn hint(mut self, hint: &'a str) -> Self {
        self.hint = hint;
        self
    }

    /// It may not stay empty.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// What the browser may fill in (HTML, section 4.10.18.7.1): `username`, `current-password`, `new-password`.
    #[must_use]
    pub fn autocomplete(mut self, what: &'a str) -> Self {
        self.autocomplete = what;
        self
    }

    /// The id of a `<datalist>` with suggestions.
    #[must_use]
    pub fn suggestions(mut self, list: &'a str) -> Self {
        self.list = list;
        self
    }

    /// The ids of what describes it.
    fn described(&self) -> String {
        let hint = (!self.hint.is_empty()).then(|| format!("h-{}", self.id()));
        let error = self.error.map(|_| format!("e-{}", self.id()));
        error.into_iter().chain(hint).collect::<Vec<_>>().join(" ")
    }

    /// A name may hold what an id had better not.
    fn id(&self) -> String {
        id_of(self.name)
    }

    fn is_yes(&self) -> bool {
        self.value == "yes"
    }

    fn is_chosen(&self, choice: &Choice) -> bool {
        choice.value == self.value
    }
}

fn id_of(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

/// What is wrong with a form, at its top, with the way to each field.
#[derive(Template)]
#[template(path = "console/parts/summary.html")]
pub struct Summary<'a> {
    trouble: Option<&'a str>,
    errors: &'a [FieldError],
}

impl HtmlSafe for Summary<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_kept_and_escaped_and_the_error_stands_beside_it() {
        let error = FieldError { field: "username".into(), message: "it is <taken>".into() };
        let form = Form { errors: vec![error], ..Form::new().with("username", "\"><script>") };
        let field = form.text("username", "Username").hint("Small letters").required().to_string();
        assert!(field.contains(r#"value="&#34;&#62;&#60;script&#62;""#), "{field}");
        assert!(field.contains(r#"aria-invalid="true" aria-describedby="e-username h-username""#), "{field}");
        assert!(field.contains(r#"id="e-username">it is &#60;taken&#62;<"#), "{field}");
        assert!(field.contains(r#"<label for="f-username">Username</label>"#), "{field}");
        let summary = form.summary().to_string();
        assert!(summary.contains(r##"<a href="#f-username">it is &#60;taken&#62;</a>"##), "{summary}");
        assert_eq!(Form::new().summary().to_string().trim(), "");
    }

    #[test]
    fn the_choice_that_was_made_stays_made() {
        let choices = [Choice::plain("reader"), Choice::new("admin", "admin: everything")];
        let form = Form::new().with("role", "admin").with("yes", "yes");
        for field in [form.select("role", "Role", &choices), form.radios("role", "Role", &choices)] {
            let field = field.to_string();
            let chosen =
                ["selected", "checked"].iter().any(|word| field.contains(&format!(r#"value="admin" {word}>"#)));
            assert!(chosen && !field.contains(r#"value="reader" "#), "{field}");
        }
        assert!(form.check("yes", "Really").to_string().contains(r#"value="yes" checked>"#));
        assert!(!form.check("no", "Really").to_string().contains("checked>"));
        // The first line break of a text area is not part of it.
        let form = Form::new().with("text", "\nb");
        assert!(form.area("text", "Text", 3).to_string().contains(">\n\nb</textarea>"));
    }
}
