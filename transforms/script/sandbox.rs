//! One run of a script: a JavaScript runtime of its own, with bounded memory, stack and steps.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use message::json::Value;
use message::{Context, Finding, FindingKind, TransformError, hl7v2};
use rquickjs::context::EvalOptions;
use rquickjs::function::Func;
use rquickjs::{CaughtError, Ctx, Exception, Function, Object, Runtime};
use serde_json::json;
use uuid::Uuid;

use super::fields::{self, Found};
use super::{Script, decimals, told};

/// What scripts find before they run.
const PRELUDE: &str = include_str!("prelude.js");
/// The prelude's name in stack traces.
const PRELUDE_NAME: &str = "tributary";
/// How deep calls may go, in bytes of the thread's stack.
const STACK: usize = 512 << 10;
/// Bytes that a script may take for each byte of its message and Bundle: texts, objects, the result.
const FOR_EACH_BYTE: usize = 12;
/// A run that takes longer than this is on a machine that does nothing else: it is stopped whatever its steps.
const LONGEST: Duration = Duration::from_secs(20);
/// Most remarks of one message.
const MOST_NOTES: usize = 100;

/// What came of a run.
#[derive(Debug)]
pub(super) struct Done {
    /// The Bundle, if there is one.
    pub(super) bundle: Option<Value>,
    /// What the script said.
    pub(super) notes: Vec<Finding>,
}

/// What was wrong.
#[derive(Debug)]
pub(super) struct Fault {
    /// Line and column in the script, where they are known.
    pub(super) place: Option<(usize, usize)>,
    /// Where in the message, if the script said so.
    location: Option<String>,
    /// What, for an analyst; no values of the message.
    pub(super) text: String,
}

impl Fault {
    fn new(text: impl Into<String>) -> Self {
        Self { place: None, location: None, text: text.into() }
    }
}

/// Compiles the script and runs its top level, without a message.
pub(super) fn check(script: &Script) -> Result<(), Fault> {
    let context = Context {
        now: jiff::Timestamp::UNIX_EPOCH,
        provider: std::sync::Arc::default(),
        engine: "tributary".into(),
        base_uri: "urn:tributary".into(),
        time_zone: jiff::tz::TimeZone::UTC,
    };
    let run = Run::new(script, None, "", &context);
    run.within(0, |ctx| {
        run.prelude(ctx)?;
        run.transform(ctx).map(|_| ())
    })
}

/// Runs the script over one message.
pub(super) fn run(
    script: &Script,
    message: Option<&hl7v2::Message>,
    bundle: Option<&Value>,
    channel: &str,
    context: &Context,
) -> Result<Done, TransformError> {
    let text = bundle.map(Value::to_string);
    let size = text.as_ref().map_or(0, String::len) + message.map_or(0, |message| message.text().len());
    let decimals = Value::Array(bundle.map(decimals::of).unwrap_or_default()).to_string();
    let run = Run::new(script, message, channel, context);
    let said = run.within(size, |ctx| {
        let begin = run.prelude(ctx)?;
        let transform = run.transform(ctx)?;
        let is_hl7 = run.message.is_some();
        run.caught(ctx, begin.call::<_, Option<String>>((transform, text, decimals, is_hl7)))
    });
    let made = said.and_then(|said| said.map(|said| bundle_of(&said)).transpose());
    let failed = |fault: Fault| {
        let here = fault.place.or_else(|| definition(script));
        let here = here.map_or_else(|| script.name.clone(), |(line, _)| format!("{}:{line}", script.name));
        match fault.location {
            Some(location) => TransformError { location, reason: format!("{} ({here})", fault.text) },
            None => TransformError { location: here, reason: fault.text },
        }
    };
    let bundle = made.map_err(failed)?;
    Ok(Done { bundle, notes: run.notes.take() })
}

/// Reads what a script left.
fn bundle_of(said: &str) -> Result<Value, Fault> {
    let bundle: serde_json::Value =
        serde_json::from_str(said).map_err(|_| Fault::new("what transform() leaves is nested too deep"))?;
    let bundle = Value::from(bundle);
    match decimals::null_in(&bundle) {
        Some(place) => {
            let text = "null or NaN stands there, which FHIR does not have: delete the element instead";
            let place = told::place(&place).unwrap_or_else(|| "message".to_owned());
            Err(Fault { place: None, location: Some(place), text: text.to_owned() })
        }
        None => Ok(bundle),
    }
}

/// Where `transform` is defined: the place of what has no better one.
fn definition(script: &Script) -> Option<(usize, usize)> {
    let is_definition = |line: &str| line.contains("function transform") || line.contains("transform =");
    script.source.lines().position(is_definition).map(|line| (line + 1, 1))
}

/// One run.
struct Run<'a> {
    script: &'a Script,
    /// Shared with what JavaScript calls.
    message: Option<Rc<hl7v2::Message>>,
    channel: &'a str,
    context: &'a Context,
    notes: Rc<RefCell<Vec<Finding>>>,
    /// What `fail` said last: its place.
    failed: Rc<RefCell<Option<String>>>,
    stopped: Rc<Cell<bool>>,
}

impl<'a> Run<'a> {
    fn new(script: &'a Script, message: Option<&hl7v2::Message>, channel: &'a str, context: &'a Context) -> Self {
        Self {
            script,
            message: message.map(|message| Rc::new(message.clone())),
            channel,
            context,
            notes: Rc::default(),
            failed: Rc::default(),
            stopped: Rc::default(),
        }
    }

    /// Does `work` in a new runtime for a message of `size` bytes.
    fn within<T>(&self, size: usize, work: impl FnOnce(&Ctx<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        let broken = |_| Fault::new("there is no memory to run the script");
        let runtime = Runtime::new().map_err(broken)?;
        let own = (self.script.options.max_memory as usize) << 20;
        runtime.set_memory_limit(own.saturating_add(size.saturating_mul(FOR_EACH_BYTE)));
        runtime.set_max_stack_size(STACK);
        // Short runs need no collection: all is freed at the end.
        runtime.set_gc_threshold(8 << 20);
        let (stopped, most, began) = (Rc::clone(&self.stopped), self.script.options.max_steps, Instant::now());
        let mut steps = 0_u32;
        runtime.set_interrupt_handler(Some(Box::new(move || {
            steps = steps.saturating_add(1);
            let stop = steps > most || began.elapsed() > LONGEST;
            stopped.set(stopped.get() || stop);
            stop
        })));
        let context = rquickjs::Context::full(&runtime).map_err(broken)?;
        context.with(|ctx| work(&ctx))
    }

    /// Evaluates the prelude and gives it the native functions.
    fn prelude<'js>(&self, ctx: &Ctx<'js>) -> Result<Function<'js>, Fault> {
        let native = self.native(ctx).map_err(|_| Fault::new("there is no memory to run the script"))?;
        let make: Function<'js> = self.caught(ctx, ctx.eval_with_options(PRELUDE, options(PRELUDE_NAME)))?;
        self.caught(ctx, make.call((native,)))
    }

    /// Evaluates the script and finds its function.
    fn transform<'js>(&self, ctx: &Ctx<'js>) -> Result<Function<'js>, Fault> {
        self.caught(ctx, ctx.eval_with_options::<(), _>(self.script.source.as_str(), options(&self.script.name)))?;
        let find = "typeof transform === 'function' ? transform : undefined";
        let found: Option<Function<'js>> = self.caught(ctx, ctx.eval_with_options(find, options(PRELUDE_NAME)))?;
        found.ok_or_else(|| Fault::new("the script must define function transform(message, bundle, context)"))
    }

    fn native<'js>(&self, ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
        let native = Object::new(ctx.clone())?;
        let context = json!({
            "channel": self.channel,
            "provider": &*self.context.provider.key,
            "baseUri": &*self.context.base_uri,
            "now": self.context.now.to_string(),
            "timeZone": self.context.time_zone.iana_name().unwrap_or("UTC"),
        });
        native.set("context", context.to_string())?;
        native.set("now", self.context.now.to_string())?;
        self.of_message(&native)?;
        self.of_site(&native)?;
        self.of_speech(&native)?;
        Ok(native)
    }

    fn of_message<'js>(&self, native: &Object<'js>) -> rquickjs::Result<()> {
        let message = self.message.clone();
        let get = move |ctx: Ctx<'js>, path: String, segment: i32| {
            let first = values(&ctx, message.as_deref(), &path, segment)?.into_iter().next();
            Ok::<_, rquickjs::Error>(match first {
                None => Some(String::new()),
                Some(Found::Null) => None,
                Some(Found::Text(text)) => Some(text),
            })
        };
        let message = self.message.clone();
        let all = move |ctx: Ctx<'js>, path: String, segment: i32| {
            let found = values(&ctx, message.as_deref(), &path, segment)?.into_iter();
            let texts: Vec<String> = found
                .filter_map(|found| match found {
                    Found::Text(text) => Some(text),
                    Found::Null => None,
                })
                .collect();
            Ok::<_, rquickjs::Error>(json!(texts).to_string())
        };
        let message = self.message.clone();
        let segments = move |name: String| {
            let named = message.iter().flat_map(|message| message.segments_named(&name));
            json!(named.map(|segment| (segment.number(), segment.name())).collect::<Vec<_>>()).to_string()
        };
        native.set("get", Func::from(get))?;
        native.set("all", Func::from(all))?;
        native.set("segments", Func::from(segments))
    }

    fn of_site<'js>(&self, native: &Object<'js>) -> rquickjs::Result<()> {
        let codes = std::sync::Arc::clone(&self.script.codes);
        let lookup = move |ctx: Ctx<'js>, set: String, code: String| {
            let row = codes.row(&set, &code).map_err(|text| Exception::throw_reference(&ctx, &text))?;
            let row = row.map(|row| row.map(|(column, value)| (column.to_owned(), json!(value))).collect());
            Ok::<_, rquickjs::Error>(row.map(|row| serde_json::Value::Object(row).to_string()))
        };
        let space = format!("{}/script/{}", self.context.base_uri, self.context.provider.key);
        let space = Uuid::new_v5(&Uuid::NAMESPACE_URL, space.as_bytes());
        native.set("lookup", Func::from(lookup))?;
        native.set("uuid", Func::from(move |name: String| Uuid::new_v5(&space, name.as_bytes()).to_string()))
    }

    fn of_speech<'js>(&self, native: &Object<'js>) -> rquickjs::Result<()> {
        let (notes, source, name) = (Rc::clone(&self.notes), self.script.source.clone(), self.script.name.clone());
        let note = move |place: String, said: String, stack: String| {
            let frames = told::frames(&stack, &name);
            let lines: Vec<usize> = frames.iter().map(|(line, _)| *line).collect();
            let here = lines.first().map_or_else(|| name.clone(), |line| format!("{name}:{line}"));
            let text = told::told(&said, &told::around(&source, &lines));
            let mut notes = notes.borrow_mut();
            if notes.len() < MOST_NOTES {
                let location = told::place(&place).unwrap_or(here);
                notes.push(Finding { kind: FindingKind::Noted, location: location.into(), text: text.into() });
            }
        };
        let failed = Rc::clone(&self.failed);
        let fail = move |place: String| *failed.borrow_mut() = told::place(&place);
        native.set("note", Func::from(note))?;
        native.set("fail", Func::from(fail))
    }

    /// What JavaScript said, or what went wrong and where.
    fn caught<'js, T>(&self, ctx: &Ctx<'js>, result: rquickjs::Result<T>) -> Result<T, Fault> {
        result.map_err(|error| {
            let (text, stack) = match CaughtError::from_error(ctx, error) {
                CaughtError::Exception(error) => {
                    (error.message().unwrap_or_default(), error.stack().unwrap_or_default())
                }
                CaughtError::Value(value) => {
                    (value.as_string().and_then(|s| s.to_string().ok()).unwrap_or_default(), String::new())
                }
                CaughtError::Error(_) => ("what transform() leaves is no JSON".to_owned(), String::new()),
            };
            let frames = told::frames(&stack, &self.script.name);
            let lines: Vec<usize> = frames.iter().map(|(line, _)| *line).collect();
            let text = if self.stopped.get() {
                format!(
                    "the script took too many steps (max_steps = {}): is there a loop without an end?",
                    self.script.options.max_steps
                )
            } else if text.contains("out of memory") {
                format!("the script took too much memory (max_memory = {} MiB)", self.script.options.max_memory)
            } else if text.is_empty() {
                "the script threw something that is no Error".to_owned()
            } else {
                told::told(&text, &told::around(&self.script.source, &lines))
            };
            Fault { place: frames.first().copied(), location: self.failed.borrow().clone(), text }
        })
    }
}

fn values(ctx: &Ctx<'_>, message: Option<&hl7v2::Message>, path: &str, segment: i32) -> rquickjs::Result<Vec<Found>> {
    let Some(message) = message else { return Ok(Vec::new()) };
    let segment = usize::try_from(segment).ok();
    fields::values(message, path, segment).map_err(|text| Exception::throw_type(ctx, &text))
}

fn options(name: &str) -> EvalOptions {
    let mut options = EvalOptions::default();
    options.strict = true;
    options.filename = Some(name.to_owned());
    options
}
