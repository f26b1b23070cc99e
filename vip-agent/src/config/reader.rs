//! Reads every key from every source, and keeps going after the first error.

use std::{collections::BTreeMap, num::NonZeroU32};

use super::{
    Attach, Bind, Config, Invalid, Key, Log, LogFormat, LogLevel, OnExit, Ownership, PrefixPolicy,
    Problem, VipSpec, Warning,
    key::closest,
    kube_vip::KubeVip,
    source::{File, Given},
    value,
};

/// What the sources say, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    config: Config,
    errors: Vec<Problem>,
    warnings: Vec<Warning>,
}

/// Variables of ours that are no keys: the path of the file.
const OTHER_VARIABLES: [&str; 1] = ["XVIP_CONFIG"];

/// Reads the configuration. By precedence: `flags`, the environment (`XVIP_*`, then kube-vip's
/// names), the text of the file, the default. `host_name` is the node's name when nothing
/// else tells it. A value that is overridden is still judged.
pub fn read(
    flags: &[(Key, String)],
    environment: impl IntoIterator<Item = (String, String)>,
    file: Option<&str>,
    host_name: &str,
) -> Reading {
    let environment: BTreeMap<String, String> = environment.into_iter().collect();
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    let file = File::read(file.unwrap_or_default(), &mut errors);
    warn_of_unknown(&environment, &mut warnings);
    let mut sources = Sources {
        flags,
        environment: &environment,
        file: &file,
        kube_vip: KubeVip::default(),
        errors,
        warnings,
    };
    // What kube-vip's variables mean depends on it, and none of them sets it.
    let mode = sources.mode();
    sources.kube_vip = KubeVip::read(
        &environment,
        mode,
        &mut sources.errors,
        &mut sources.warnings,
    );
    let config = sources.config(host_name, mode);
    let Sources {
        errors, warnings, ..
    } = sources;
    Reading {
        config,
        errors,
        warnings,
    }
}

impl Reading {
    /// What it means, with defaults in place of what is wrong: to be shown, not to be run.
    pub fn shown(&self) -> &Config {
        &self.config
    }

    /// Every error.
    pub fn errors(&self) -> &[Problem] {
        &self.errors
    }

    /// Every warning.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The configuration and its warnings, or all that is wrong with it.
    pub fn into_config(self) -> Result<(Config, Vec<Warning>), Invalid> {
        let Self {
            config,
            errors,
            warnings,
        } = self;
        if errors.is_empty() {
            Ok((config, warnings))
        } else {
            Err(Invalid { errors, warnings })
        }
    }
}

/// The values of `ownership`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Static,
    Kubernetes,
}

/// Where values come from, and what was found wrong so far.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    flags: &'a [(Key, String)],
    environment: &'a BTreeMap<String, String>,
    file: &'a File,
    kube_vip: KubeVip<'a>,
    pub(super) errors: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl<'a> Sources<'a> {
    fn config(&mut self, host_name: &str, mode: Mode) -> Config {
        let default = Config::default();
        let prefix = self.get(Key::Prefix, value::prefix).unwrap_or_default();
        let config = Config {
            node: self.node(host_name),
            interfaces: self
                .get(Key::Interfaces, |given, problems| {
                    value::globs(given, problems).map(value::interfaces)
                })
                .unwrap_or_default(),
            prefix,
            attach: self
                .word(
                    Key::Attach,
                    &[
                        ("auto", Attach::Auto),
                        ("native", Attach::Native),
                        ("tc", Attach::Tc),
                        ("generic", Attach::Generic),
                    ],
                )
                .unwrap_or_default(),
            bind: self
                .word(
                    Key::Bind,
                    &[("interface", Bind::Interface), ("none", Bind::None)],
                )
                .unwrap_or_default(),
            ignore_interfaces: self
                .get(Key::IgnoreInterfaces, value::globs)
                .unwrap_or(default.ignore_interfaces),
            announce_rate: self
                .one(Key::AnnounceRate, |given| {
                    given.number::<NonZeroU32>(
                        "not a rate: it takes frames a second, 1 or more",
                        "5000",
                    )
                })
                .unwrap_or(default.announce_rate),
            ownership: self.ownership(mode, prefix),
            vips: self.vips(mode, prefix),
            http: self.one(Key::Http, value::http).unwrap_or(default.http),
            metrics: self.one(Key::Metrics, value::metrics).flatten(),
            pin_dir: self
                .one(Key::PinDir, value::pin_dir)
                .unwrap_or(default.pin_dir),
            adopt: self.get(Key::Adopt, value::adopt).unwrap_or_default(),
            boot_id: self
                .one(Key::BootId, |given| given.string("\"\""))
                .filter(|id| !id.is_empty())
                .map(ToOwned::to_owned),
            on_exit: self
                .word(
                    Key::OnExit,
                    &[("withdraw", OnExit::Withdraw), ("keep", OnExit::Keep)],
                )
                .unwrap_or_default(),
            log: self.log(),
        };
        if self.errors.is_empty() {
            self.warn_of_nothing(&config);
        }
        config
    }

    fn mode(&mut self) -> Mode {
        let words = [("static", Mode::Static), ("kubernetes", Mode::Kubernetes)];
        self.word(Key::Ownership, &words).unwrap_or_default()
    }

    /// The keys of `ownership: kubernetes` are judged in any case; elsewhere they are warnings.
    fn ownership(&mut self, mode: Mode, prefix: PrefixPolicy) -> Ownership {
        let kubernetes = self.kubernetes(prefix);
        if mode == Mode::Kubernetes {
            let named = kubernetes.control_plane.is_some();
            self.errors.extend(self.kube_vip.contradiction(named));
            if !named {
                let message = "no effect without `controlPlane.addresses`";
                self.warn_of(Key::ControlPlanePort, message);
            }
            return Ownership::Kubernetes(Box::new(kubernetes));
        }
        let message = "no effect with `ownership: static`: write `ownership: kubernetes`, or \
                       remove it";
        for key in Key::OF_KUBERNETES {
            self.warn_of(key, message);
        }
        Ownership::Static
    }

    fn warn_of(&mut self, key: Key, message: &str) {
        let warnings = self.given(key);
        let warnings = warnings
            .iter()
            .map(|given| Warning::new(&given.field, given.shown(), message));
        self.warnings.extend(warnings);
    }

    fn vips(&mut self, mode: Mode, prefix: PrefixPolicy) -> Vec<VipSpec> {
        let read = |given: &Given<'a>, problems: &mut Vec<Problem>| {
            let vips = value::vips(given, prefix, problems)?;
            if mode == Mode::Kubernetes && !vips.is_empty() {
                problems.push(given.problem(
                    "with `ownership: kubernetes` VIPs come from Services, and no list is read",
                    "remove it and name the addresses in `xvip.io/addresses` of a Service or in \
                     `controlPlane.addresses`, or write `ownership: static`",
                ));
                return None;
            }
            Some(vips)
        };
        self.get(Key::Vips, read).unwrap_or_default()
    }

    fn warn_of_nothing(&mut self, config: &Config) {
        let (key, nothing) = match &config.ownership {
            Ownership::Static if config.vips.is_empty() => (
                Key::Vips,
                "no VIP is configured: this node answers for none",
            ),
            Ownership::Kubernetes(cluster)
                if cluster.services.none() && cluster.control_plane.is_none() =>
            {
                let nothing = "neither Services nor the control plane get VIPs: no class is \
                               listed, and those without one are not served";
                (Key::ServicesLoadBalancerClasses, nothing)
            }
            _ => return,
        };
        self.warnings.push(Warning::new(key.path(), "", nothing));
    }

    /// What is known of a key, by precedence.
    pub(super) fn given(&self, key: Key) -> Vec<Given<'a>> {
        let flag = self
            .flags
            .iter()
            .find(|(other, _)| *other == key)
            .map(|(_, text)| Given::text(key.flag(), text));
        let variable = self
            .environment
            .get(&key.variable())
            .filter(|text| !text.trim().is_empty())
            .map(|text| Given::text(key.variable(), text));
        flag.into_iter()
            .chain(variable)
            .chain(self.kube_vip.get(key).cloned())
            .chain(self.file.get(key))
            .collect()
    }

    /// Reads every value of a key; the first counts.
    pub(super) fn get<T>(
        &mut self,
        key: Key,
        mut read: impl FnMut(&Given<'a>, &mut Vec<Problem>) -> Option<T>,
    ) -> Option<T> {
        let read: Vec<Option<T>> = self
            .given(key)
            .iter()
            .map(|given| read(given, &mut self.errors))
            .collect();
        read.into_iter().next().flatten()
    }

    /// As [`Self::get`], for a value that has one problem at most.
    pub(super) fn one<T>(
        &mut self,
        key: Key,
        read: impl Fn(&Given<'a>) -> Result<T, Problem>,
    ) -> Option<T> {
        self.get(key, |given, problems| {
            read(given).map_err(|problem| problems.push(problem)).ok()
        })
    }

    pub(super) fn word<T: Copy>(&mut self, key: Key, words: &[(&str, T)]) -> Option<T> {
        self.one(key, |given| given.word(words))
    }

    fn node(&mut self, host_name: &str) -> String {
        let given = self.one(Key::Node, |given| {
            let name = given.string("the node's name")?;
            if name.is_empty() || name.contains(char::is_whitespace) {
                let fix = "write the node's name, or leave the key out";
                return Err(given.problem("not a name of a node", fix));
            }
            Ok(name.to_owned())
        });
        let fallback = self
            .environment
            .get("NODE_NAME")
            .map(|name| name.trim())
            .filter(|name| !name.is_empty())
            .unwrap_or(host_name);
        if given.is_none() && self.given(Key::Node).is_empty() && fallback.is_empty() {
            self.errors.push(Problem::new(
                Key::Node.path(),
                "",
                "the node has no name: there is no NODE_NAME, and the host has none either",
                "set `node`",
            ));
        }
        given.unwrap_or_else(|| fallback.to_owned())
    }

    fn log(&mut self) -> Log {
        let levels = [
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ];
        let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        Log {
            level: self.word(Key::LogLevel, &levels).unwrap_or_default(),
            format: self.word(Key::LogFormat, &formats).unwrap_or_default(),
        }
    }
}

/// The environment is not ours alone (Kubernetes puts the addresses of Services there), so
/// that an unknown variable is no error.
fn warn_of_unknown(environment: &BTreeMap<String, String>, warnings: &mut Vec<Warning>) {
    let known: Vec<String> = Key::ALL.iter().map(|key| key.variable()).collect();
    let known = || known.iter().map(String::as_str).chain(OTHER_VARIABLES);
    for (name, value) in environment {
        let ours = name.starts_with("XVIP_");
        let of_a_service = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"]
            .iter()
            .any(|part| name.ends_with(part) || name.contains(&format!("{part}_")));
        if ours && !of_a_service && !known().any(|other| other == name) {
            let message = match closest(name, known()) {
                Some(meant) => format!("no effect: unknown; did you mean `{meant}`?"),
                None => "no effect: unknown; remove it".to_owned(),
            };
            warnings.push(Warning::new(name, value, message));
        }
    }
}
