//! What a revision of an upgrade may not change, since nodes may have staged or settled at the one before it; and whether nodes that
//! have settled need a restart for it.

use super::{
    BundleError, BundleFiles, Class, ClassUpgrade, FileInfo, Service, SoftwareKind, Upgrade,
};
use crate::expression::Template;
use crate::manifest::{CHUNKS_FILE, UPGRADE_FILE};
use std::collections::{BTreeMap, BTreeSet};

impl Upgrade {
    /// What keeps this upgrade from being a revision of `old`; nothing when it may replace it. Versions, classes,
    /// filters, services, ports and interfaces stay; software, adapters, transforms, schedules and texts may change.
    pub fn differences_from(&self, old: &Self) -> Vec<BundleError> {
        let mut found = Vec::new();
        let mut same = |key: &str, same: bool| {
            if !same {
                found.push(BundleError {
                    key: key.to_owned(),
                    ..BundleError::of_file(
                        UPGRADE_FILE,
                        "a revision cannot change this",
                        "put it back, or publish the change as the next version",
                    )
                });
            }
        };
        same("system", self.system == old.system);
        same("version", self.version == old.version);
        same("from", self.from == old.from);
        same("removed.classes", self.removed == old.removed);
        for name in union(&self.classes, &old.classes) {
            let key = format!("class.{name}");
            match (self.classes.get(name), old.classes.get(name)) {
                (Some(new), Some(old)) => compare_classes(&key, new, old, &mut same),
                _ => same(&key, false),
            }
        }
        found
    }

    /// The compressed archives that nobody but agents reads, as far as the upgrade file tells: nodes may keep what is in them instead.
    pub fn unpacked_archives(&self) -> BTreeSet<&str> {
        let classes = self.classes.values();
        let classes: Vec<&Class> = classes.filter_map(|it| it.definition.as_ref()).collect();
        let sources = (classes.iter()).filter_map(|class| class.software.source.as_ref());
        let archives = sources.filter(|source| source.kind == SoftwareKind::TarGz);
        let is_read = |path: &str| {
            classes.iter().any(|class| {
                let steps = [&class.state.transform, &class.state.reverse];
                let mut steps = steps.into_iter().flatten().flat_map(|step| &step.command);
                templates(class).any(|word| word.source().contains("bundle"))
                    || steps.any(|word| word.source().contains(path))
            })
        };
        let paths = archives.map(|source| source.path.as_str());
        paths.filter(|path| !is_read(path)).collect()
    }
}

/// What a bundle says of a class, its files, and those of them that adapters consist of.
#[derive(Clone, Copy, Debug)]
pub struct Shipped<'a> {
    /// What nodes of the class run.
    pub class: &'a Class,
    /// The bundle's files.
    pub files: &'a BundleFiles,
    /// Files that only the agent reads.
    pub adapters: &'a BTreeSet<String>,
}

impl Shipped<'_> {
    /// Whether nodes that run `old` run the same already: the same software with the same files, started, judged and stopped alike.
    /// What is asked once (where state comes from, how it is transformed) and what the agent itself does (adapters, schedule) may differ.
    pub fn runs_as(&self, old: &Shipped<'_>) -> bool {
        self.class.software == old.class.software
            && self.class.lifecycle == old.class.lifecycle
            && self.read_files() == old.read_files()
    }

    /// The files that the software can be taken to read: those of its folder or archive; everything where a command names the bundle.
    fn read_files(&self) -> BTreeMap<&String, &FileInfo> {
        let everything = templates(self.class).any(|word| word.source().contains("bundle"));
        let source = self.class.software.source.as_ref();
        let of_software = |path: &str| {
            source.is_some_and(|source| {
                let inside = path.strip_prefix(&source.path);
                inside.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        let agents = |path: &String| {
            path == UPGRADE_FILE || path == CHUNKS_FILE || self.adapters.contains(path)
        };
        let files = self.files.iter();
        files
            .filter(|(path, _)| of_software(path) || everything && !agents(path))
            .collect()
    }
}

/// Everything in which the software's files can be named.
fn templates(class: &Class) -> impl Iterator<Item = &Template> {
    let software = &class.software;
    let hooks = [&class.lifecycle.before_stop, &class.lifecycle.after_start];
    let probe = match &class.lifecycle.probe.question {
        super::ProbeQuestion::Command(words) => words.as_slice(),
        _ => &[],
    };
    let hooks = hooks.into_iter().flatten();
    (software.command.iter())
        .chain(software.environment.values())
        .chain([&software.directory])
        .chain(hooks.flat_map(|hook| &hook.command))
        .chain(probe)
}

fn compare_classes(
    key: &str,
    new: &ClassUpgrade,
    old: &ClassUpgrade,
    same: &mut dyn FnMut(&str, bool),
) {
    same(&format!("{key}.added"), new.added == old.added);
    same(&format!("{key}.was"), new.was == old.was);
    same(&format!("{key}.filter"), new.filter == old.filter);
    let (new, old) = match (&new.definition, &old.definition) {
        (Some(new), Some(old)) => (&new.services, &old.services),
        (None, None) => return,
        _ => return same(&format!("{key}.software"), false),
    };
    for name in union(new, old) {
        let key = format!("{key}.service.{name}");
        match (new.get(name), old.get(name)) {
            (Some(new), Some(old)) => compare_services(&key, new, old, same),
            _ => same(&key, false),
        }
    }
}

fn compare_services(key: &str, new: &Service, old: &Service, same: &mut dyn FnMut(&str, bool)) {
    same(&format!("{key}.port"), new.port == old.port);
    same(&format!("{key}.protocol"), new.protocol == old.protocol);
    same(&format!("{key}.interface"), new.interface == old.interface);
}

fn union<'a, T>(a: &'a BTreeMap<String, T>, b: &'a BTreeMap<String, T>) -> BTreeSet<&'a String> {
    a.keys().chain(b.keys()).collect()
}

#[cfg(test)]
mod tests {
    use super::Shipped;
    use crate::bundle::{
        Adapter, BundleFiles, Class, FileInfo, Signal, SoftwareKind, SoftwareSource, Upgrade,
    };
    use crate::expression::{Allowed, Template};
    use crate::manifest::{Digest, Mode};
    use crate::release::tests::upgrade;
    use std::collections::BTreeSet;
    use std::sync::Arc;

    const OLD: &str = "system = \"s\"\nversion = 2\nfrom = 1\n[class.a]\nRUN\n\
                       service.x = { port = 1, protocol = \"http\", interface = \"changed\", adapter = \"refuse\" }\n";

    fn told(change: impl Fn(&str) -> String) -> Vec<String> {
        let (old, new): (Arc<Upgrade>, Arc<Upgrade>) = (upgrade(OLD), upgrade(&change(OLD)));
        new.differences_from(&old)
            .into_iter()
            .map(|error| error.key)
            .collect()
    }

    #[test]
    fn an_archive_that_a_command_may_read_stays_as_it_is() {
        let archives = |old: String| {
            let upgrade = upgrade(&old);
            let archives = upgrade.unpacked_archives().into_iter();
            archives.map(str::to_owned).collect::<Vec<_>>()
        };
        let packed = |command: &str| {
            let software = format!(
                "software = {{ command = [{command}], path = \"a.tar.gz\" }}\nlifecycle.probe = {{ alive_ms = 1 }}"
            );
            archives(OLD.replace("RUN", &software))
        };
        assert_eq!(archives(OLD.to_owned()), [""; 0]);
        assert_eq!(packed("\"true\""), ["a.tar.gz"]);
        assert_eq!(packed("\"cat\", \"${bundle}/a.tar.gz\""), [""; 0]);
    }

    #[test]
    fn what_is_mended_may_differ() {
        assert!(told(|old| old.replace("refuse", "lens.toml")).is_empty());
        assert!(told(|old| format!("description = \"mended\"\n{old}")).is_empty());
        assert!(told(|old| old.replace("RUN", "RUN\nschedule = { approval = true }")).is_empty());
        assert!(told(|old| old.replace("RUN", "RUN\nlifecycle.stop_signal = \"INT\"")).is_empty());
    }

    #[test]
    fn what_others_rely_on_may_not() {
        assert_eq!(
            told(|old| old.replace("port = 1", "port = 2")),
            ["class.a.service.x.port"]
        );
        assert_eq!(told(|old| old.replace("\"s\"", "\"t\"")), ["system"]);
        assert_eq!(
            told(|old| old.replace("service.x", "service.y")),
            ["class.a.service.x", "class.a.service.y"]
        );
        assert_eq!(
            told(|old| format!("{old}[class.b]\nwas = \"c\"\n")),
            ["class.b"]
        );
        assert_eq!(
            told(|old| old.replace("\"changed\", adapter = \"refuse\"", "\"same\"")),
            ["class.a.service.x.interface"]
        );
        let error = upgrade(&OLD.replace("port = 1", "port = 2"))
            .differences_from(&upgrade(OLD))
            .remove(0);
        assert_eq!(
            error.to_string(),
            "upgrade.toml: class.a.service.x.port: a revision cannot change this; put it back, or publish the change as the next version"
        );
    }

    fn files(files: &[(&str, &str)]) -> BundleFiles {
        let info = |content: &str| FileInfo {
            mode: Mode::Plain,
            size: content.len() as u64,
            sha256: Digest::of(content.as_bytes()),
        };
        let files = files.iter();
        files
            .map(|(path, content)| ((*path).to_owned(), info(content)))
            .collect()
    }

    /// Whether a node that runs this class needs no restart for the changed one, with these files before and after.
    fn runs_on(
        old: &Class,
        change: impl Fn(&mut Class),
        was: &[(&str, &str)],
        is: &[(&str, &str)],
    ) -> bool {
        let adapters = &BTreeSet::from(["lens.toml".to_owned()]);
        let (was, is) = (&files(was), &files(is));
        let mut new = old.clone();
        change(&mut new);
        let shipped = |class, files| Shipped {
            class,
            files,
            adapters,
        };
        shipped(&new, is).runs_as(&shipped(old, was))
    }

    #[test]
    fn only_what_the_software_reads_or_how_it_lives_needs_a_restart() {
        let mut class = upgrade(OLD).classes["a"]
            .definition
            .clone()
            .expect("it runs");
        let others = |content| {
            [
                ("lens.toml", content),
                ("to.py", content),
                ("upgrade.toml", content),
            ]
        };
        let signal = |class: &mut Class| class.lifecycle.stop_signal = Signal::ALL[1];
        let adapter = |class: &mut Class| {
            let service = class.services.get_mut("x").expect("a service");
            service.past = Adapter::File("lens.toml".to_owned());
        };
        assert!(runs_on(&class, adapter, &others("1"), &others("2")));
        assert!(!runs_on(&class, signal, &others("1"), &others("1")));

        class.software.source = Some(SoftwareSource {
            path: "server".to_owned(),
            kind: SoftwareKind::Folder,
        });
        let with = |content| [("server/run", content), ("servers", "x")];
        assert!(!runs_on(&class, |_| {}, &with("1"), &with("2")));
        assert!(runs_on(&class, |_| {}, &with("1"), &[("server/run", "1")]));

        let allowed = Allowed::everything(BTreeSet::new());
        let word = Template::compile("", "${bundle}/to.py", &allowed).expect("a word");
        class.software.command.push(word);
        assert!(!runs_on(&class, |_| {}, &others("1"), &others("2")));
        let lens = |content| [("lens.toml", content), ("to.py", "1")];
        assert!(runs_on(&class, |_| {}, &lens("1"), &lens("2")));
    }
}
