//! What this engine made and sent comes back to the provider that it came from: a loop.
//!
//! Our Provenance says of which message it was made (the SHA-256 of its bytes), and has an id that follows from that
//! hash, from the provider and from the site: whoever passes it on, it is known again. What came from another provider
//! through this engine is no loop: that is how records get from one to the next.

use message::Sha256;
use message::json::{Map, Value};

use super::Stamper;
use super::authors::name_of;
use super::bundle::{objects, text};

/// How many steps and groups of authors are tried beyond what is there.
const TRIED: usize = 32;

impl Stamper {
    /// Where in `resource` a Provenance stands that this engine has written for a message of this channel's provider, and
    /// the hash of that message.
    #[must_use]
    pub fn came_back(&self, resource: &Value) -> Option<(String, Sha256)> {
        let resource = resource.as_object()?;
        let entries = objects(resource, "entry").enumerate();
        let within = entries.filter_map(|(i, entry)| {
            Some((format!("entry[{i}].resource"), entry.get("resource").and_then(Value::as_object)?))
        });
        let all: Vec<(String, &Map)> = within
            .chain([(String::from("resource"), resource)])
            .filter(|(_, one)| text(one, "resourceType") == Some("Provenance"))
            .collect();
        let most = all.len() + TRIED;
        all.iter().find_map(|(place, provenance)| Some((place.clone(), self.is_of_ours(provenance, most)?)))
    }

    /// The message that a Provenance of ours is about.
    fn is_of_ours(&self, provenance: &Map, most: usize) -> Option<Sha256> {
        let id = text(provenance, "id")?;
        objects(provenance, "agent").find(|agent| is_assembler(agent))?;
        let sources = objects(provenance, "entity").filter(|entity| text(entity, "role") == Some("source"));
        let names = sources.filter_map(|entity| objects(objects(entity, "what").next()?, "identifier").next());
        let mut hashes = names.filter_map(|identifier| Sha256::from_ni_uri(text(identifier, "value")?));
        hashes.find(|hash| {
            let is = |name: &str| self.ids.of_part(hash, &format!("provenance/{name}")).to_string() == id;
            let step = step_of(provenance);
            is("assembly")
                || (0..most).any(|n| is(&name_of(n)))
                || step.is_some_and(|step| (0..most).any(|i| is(&format!("step/{i}/{step}"))))
        })
    }
}

fn is_assembler(agent: &Map) -> bool {
    let codings = objects(agent, "type").flat_map(|role| objects(role, "coding"));
    codings.filter_map(|coding| text(coding, "code")).any(|code| code == "assembler")
}

/// The name and version of the transform that a Provenance of a step tells of: `BASE/transform/NAME:sha-256:VERSION`.
fn step_of(provenance: &Map) -> Option<String> {
    let policies = provenance.get("policy").and_then(Value::as_array)?;
    let (_, step) = policies.first().and_then(Value::as_str)?.rsplit_once("/transform/")?;
    let (name, version) = step.split_once(":sha-256:")?;
    Some(format!("{name}/{version}"))
}
