//! One section of the file, checked: what it says for all callers that it is about.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    ops::RangeInclusive,
    sync::Arc,
    time::Duration,
};

use http::{Uri, uri::Scheme};
use humantime::format_duration;
use uuid::Uuid;

use super::chain::Limit;
use crate::{
    file::form::Misfit,
    policy::{
        applied::Methods,
        bounds::{MAX_FILTER_IDS, MAX_PAGE_SIZE, MAX_POOL_SIZE, MAX_TIMEOUT},
        document::{
            Allow, BudgetSet, Budgets, Creates, Document, Entry, Limits, Org, RateSet, Rates, Selected, Span,
            Subject,
        },
    },
    rpc::{self, Class, MethodSpec},
    rule::{BudgetOf, Burden, Holder, Mode, Rate, Selection, Stance},
};

/// The shortest timeout: the unit that people think in.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);
/// A window is counted exactly, so that everything in it is remembered.
const MAX_WINDOW: Duration = Duration::from_secs(31 * 24 * 60 * 60);
/// Far more than upstream runs for anybody.
const MAX_COUNT: i64 = 1_000_000;
/// Of prebuilds each one counted is kept by its id.
const MAX_PREBUILDS: i64 = 10_000;
/// The buckets count whole nanoseconds between calls: up to here a rate is exact to a thousandth.
const MAX_RATE: u32 = 1_000_000;
/// It goes into every refusal.
const MAX_LINK: usize = 512;

const RUNNING: &str = "running_prebuilds";
const WARM: &str = "warm_instances";
const CREATES: &str = "creates";

/// All budgets, as the file has them.
pub(super) const BUDGETS: [(BudgetOf, &str); 6] = [
    (BudgetOf::Project, RUNNING),
    (BudgetOf::Project, WARM),
    (BudgetOf::Project, CREATES),
    (BudgetOf::Org, RUNNING),
    (BudgetOf::Org, WARM),
    (BudgetOf::Org, CREATES),
];

/// What of all calls counts in one rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Over {
    All,
    Read,
    Mutate,
    Expensive,
}

/// The section. Of each kind there is one entry at most.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) methods: Option<Limit<Methods>>,
    pub(super) max_timeout: Option<Limit<Duration>>,
    pub(super) min_pool_size: Option<Limit<i32>>,
    pub(super) max_pool_size: Option<Limit<i32>>,
    pub(super) projects: Option<Limit<Selection>>,
    pub(super) environment_classes: Option<Limit<Selection>>,
    pub(super) max_page_size: Option<Limit<i32>>,
    pub(super) in_flight: Option<Limit<u32>>,
    /// With the key.
    pub(super) default_timeout: Option<(String, Duration)>,
    pub(super) default_classes: BTreeMap<Uuid, Uuid>,
    pub(super) rates: Vec<(Holder, Over, Limit<Rate>)>,
    pub(super) budgets: Vec<(BudgetOf, &'static str, Limit<Burden>)>,
}

impl Over {
    /// As the file has it; the narrower first.
    pub(super) const ALL: [Self; 4] = [Self::Read, Self::Mutate, Self::Expensive, Self::All];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Read => "read",
            Self::Mutate => "mutate",
            Self::Expensive => "expensive",
        }
    }

    pub(super) fn covers(self, method: &MethodSpec) -> bool {
        match self {
            Self::All => true,
            Self::Read => method.class == Class::Read,
            Self::Mutate => method.class != Class::Read && !method.expensive,
            Self::Expensive => method.expensive,
        }
    }
}

impl Part {
    /// What stands on top of the file.
    pub(super) fn of_all(document: &Document) -> Result<Self, Misfit> {
        Self::default().section("", &document.limits, &document.rates, &document.budgets)
    }

    /// `at` is the path of the section, with a dot behind it.
    pub(super) fn of_org(at: &str, org: &Org) -> Result<Self, Misfit> {
        Self::default().section(at, &org.limits, &org.rates, &org.budgets)
    }

    /// `at` is the path of the section, with a dot behind it.
    pub(super) fn of_subject(at: &str, subject: &Subject) -> Result<Self, Misfit> {
        let limits = Self::default().limits(at, &subject.limits)?;
        limits.rates(at, Holder::Subject, &subject.rates.subject)
    }

    fn section(self, at: &str, limits: &Limits, rates: &Rates, budgets: &Budgets) -> Result<Self, Misfit> {
        self.limits(at, limits)?
            .rates(at, Holder::Org, &rates.org)?
            .rates(at, Holder::Subject, &rates.subject)?
            .budgets(at, budgets)
    }

    fn limits(mut self, at: &str, written: &Limits) -> Result<Self, Misfit> {
        let key = |name: &str| format!("{at}limits.{name}");
        self.methods = limit(key("methods"), written.methods.as_ref(), methods)?;
        self.max_timeout = limit(key("max_timeout"), written.max_timeout.as_ref(), timeout)?;
        self.min_pool_size = limit(key("min_pool_size"), written.min_pool_size.as_ref(), pool_size)?;
        self.max_pool_size = limit(key("max_pool_size"), written.max_pool_size.as_ref(), pool_size)?;
        self.max_page_size = limit(key("max_page_size"), written.max_page_size.as_ref(), page_size)?;
        self.projects = whole(limit(key("projects"), written.projects.as_ref(), projects)?)?;
        let classes = written.environment_classes.as_ref();
        self.environment_classes = whole(limit(key("environment_classes"), classes, ids)?)?;
        self.in_flight = limit(key("in_flight"), written.in_flight.as_ref(), in_flight)?;
        if let Some(span) = &written.default_timeout {
            let key = key("default_timeout");
            self.default_timeout = Some((key.clone(), timeout(&key, span)?));
        }
        for (project, class) in &written.default_environment_classes {
            let key = format!("{}.{project}", key("default_environment_classes"));
            self.default_classes.insert(id(&key, project)?, id(&key, class)?);
        }
        Ok(self)
    }

    fn rates(mut self, at: &str, holder: Holder, written: &RateSet) -> Result<Self, Misfit> {
        for over in Over::ALL {
            let entry = match over {
                Over::All => &written.all,
                Over::Read => &written.read,
                Over::Mutate => &written.mutate,
                Over::Expensive => &written.expensive,
            };
            let key = format!("{at}{}", rate_name(holder, over));
            self.rates.extend(limit(key, entry.as_ref(), rate)?.map(|limit| (holder, over, limit)));
        }
        Ok(self)
    }

    fn budgets(self, at: &str, written: &Budgets) -> Result<Self, Misfit> {
        let sets = [(BudgetOf::Org, &written.org), (BudgetOf::Project, &written.project)];
        sets.into_iter().try_fold(self, |part, (of, set)| part.budget_set(at, of, set))
    }

    fn budget_set(mut self, at: &str, of: BudgetOf, set: &BudgetSet) -> Result<Self, Misfit> {
        let key = |name: &str| format!("{at}{}", budget_name(of, name));
        let running = |key: &str, number: &i64| prebuilds(key, *number).map(Burden::RunningPrebuilds);
        let warm = |key: &str, number: &i64| within(key, *number, 0..=MAX_COUNT).map(Burden::WarmInstances);
        let limits = [
            (RUNNING, limit(key(RUNNING), set.running_prebuilds.as_ref(), running)?),
            (WARM, limit(key(WARM), set.warm_instances.as_ref(), warm)?),
            (CREATES, limit(key(CREATES), set.creates.as_ref(), creates)?),
        ];
        self.budgets.extend(limits.into_iter().filter_map(|(name, limit)| Some((of, name, limit?))));
        Ok(self)
    }
}

pub(super) fn rate_name(holder: Holder, over: Over) -> String {
    let holder = match holder {
        Holder::Org => "org",
        Holder::Subject => "subject",
    };
    format!("rates.{holder}.{}", over.as_str())
}

pub(super) fn budget_name(of: BudgetOf, name: &str) -> String {
    match of {
        BudgetOf::Org => format!("budgets.org.{name}"),
        BudgetOf::Project => format!("budgets.project.{name}"),
    }
}

/// An entry with all its values checked; `check` gets the key of each.
fn limit<W, T>(
    key: String,
    entry: Option<&Entry<W>>,
    check: impl Fn(&str, &W) -> Result<T, Misfit>,
) -> Result<Option<Limit<T>>, Misfit> {
    let Some(Entry { value, mode, share, candidate, link }) = entry else { return Ok(None) };
    let tried = format!("{key}.candidate");
    if candidate.is_some() && *mode == Mode::Off {
        return Err(Misfit::new(tried, "is not looked at with mode = \"off\""));
    }
    if link.as_deref().is_some_and(|link| !is_link(link)) {
        let problem = format_args!("must be an https URL of at most {MAX_LINK} characters");
        return Err(Misfit::new(format_args!("{key}.link"), problem));
    }
    let value = check(&key, value)?;
    let candidate = candidate.as_ref().map(|value| check(&tried, value)).transpose()?;
    let stance = Stance { mode: *mode, share: *share };
    Ok(Some(Limit { key, level: 0, value, stance, candidate, link: link.clone() }))
}

/// Lists are narrowed by it, and each page is a call of its own: by a share, one list's pages would be narrowed some and
/// some not, and tokens of the ones not lead to the others.
fn whole<T>(limit: Option<Limit<T>>) -> Result<Option<Limit<T>>, Misfit> {
    let is_split = |limit: &&Limit<T>| {
        matches!(limit.stance.mode, Mode::Warn | Mode::Enforce) && !limit.stance.share.is_whole()
    };
    match limit.as_ref().filter(is_split) {
        Some(Limit { key, .. }) => {
            let problem = "must be 1 with mode = \"warn\" or \"enforce\": the pages of one list would differ";
            Err(Misfit::new(format_args!("{key}.share"), problem))
        }
        None => Ok(limit),
    }
}

/// One that stands in headers and texts as it is.
fn is_link(link: &str) -> bool {
    let is_plain = link.len() <= MAX_LINK && link.bytes().all(|byte| byte.is_ascii_graphic());
    let uri = link.parse::<Uri>().ok();
    is_plain && uri.is_some_and(|uri| uri.scheme() == Some(&Scheme::HTTPS) && uri.host().is_some())
}

fn timeout(key: &str, Span(time): &Span) -> Result<Duration, Misfit> {
    if (MIN_TIMEOUT..=MAX_TIMEOUT).contains(time) {
        return Ok(*time);
    }
    let problem =
        format!("must be from {} to {}", format_duration(MIN_TIMEOUT), format_duration(MAX_TIMEOUT));
    Err(Misfit::new(key, problem))
}

fn pool_size(key: &str, size: &i64) -> Result<i32, Misfit> {
    within(key, *size, 0..=i64::from(MAX_POOL_SIZE))
}

fn page_size(key: &str, size: &i64) -> Result<i32, Misfit> {
    within(key, *size, 1..=i64::from(MAX_PAGE_SIZE))
}

fn in_flight(key: &str, calls: &i64) -> Result<u32, Misfit> {
    within(key, *calls, 1..=MAX_COUNT)
}

fn prebuilds(key: &str, number: i64) -> Result<u32, Misfit> {
    within(key, number, 0..=MAX_PREBUILDS)
}

fn within<T: TryFrom<i64>>(key: &str, number: i64, range: RangeInclusive<i64>) -> Result<T, Misfit> {
    let good = T::try_from(number).ok().filter(|_| range.contains(&number));
    let outside = || Misfit::new(key, format_args!("must be from {} to {}", range.start(), range.end()));
    good.ok_or_else(outside)
}

fn creates(key: &str, Creates { count: number, window: Span(window) }: &Creates) -> Result<Burden, Misfit> {
    if !(MIN_TIMEOUT..=MAX_WINDOW).contains(window) {
        return Err(Misfit::new(format_args!("{key}.window"), "must be from 1s to 31days"));
    }
    let count = prebuilds(&format!("{key}.count"), *number)?;
    Ok(Burden::Creates { count, window: *window })
}

fn rate(key: &str, rate: &Rate) -> Result<Rate, Misfit> {
    let per = match rate.per.as_secs() {
        1 => "per_second",
        60 => "per_minute",
        _ => "per_hour",
    };
    let fields: [(&str, NonZeroU32); 2] = [(per, rate.calls), ("burst", rate.burst)];
    match fields.into_iter().find(|(_, value)| value.get() > MAX_RATE) {
        Some((name, _)) => {
            Err(Misfit::new(format_args!("{key}.{name}"), format_args!("must be at most {MAX_RATE}")))
        }
        None => Ok(*rate),
    }
}

fn projects(key: &str, selected: &Selected) -> Result<Selection, Misfit> {
    // Lists are narrowed to them, and upstream takes no more in one filter.
    match &selected.allow {
        Some(Allow::Only(ids)) if ids.len() > MAX_FILTER_IDS => Err(Misfit::new(
            format_args!("{key}.allow"),
            format_args!("must name at most {MAX_FILTER_IDS} projects, or be \"any\""),
        )),
        _ => ids(key, selected),
    }
}

fn ids(key: &str, selected: &Selected) -> Result<Selection, Misfit> {
    let (allow, deny) = sets(key, selected, |key, text| Ok(vec![id(key, text)?]))?;
    Ok(Selection { allow: allow.map(Arc::new), deny: Arc::new(deny) })
}

fn methods(key: &str, selected: &Selected) -> Result<Methods, Misfit> {
    let (allow, deny) = sets(key, selected, |key, word| {
        let is_meant = |method: &&MethodSpec| [method.class.as_str(), method.name].contains(&word);
        let meant: Vec<_> = rpc::methods().filter(is_meant).map(|method| method.name).collect();
        if meant.is_empty() { Err(Misfit::new(key, NO_METHOD)) } else { Ok(meant) }
    })?;
    Ok(Methods { allow: allow.map(Arc::new), deny: Arc::new(deny) })
}

/// Of a word in a list of methods.
const NO_METHOD: &str = "must be `read`, `mutate`, `secret` or the name of a method, like `CreatePrebuild`";

type Sets<T> = (Option<BTreeSet<T>>, BTreeSet<T>);

fn sets<T: Ord>(
    key: &str,
    Selected { allow, deny }: &Selected,
    read: impl Fn(&str, &str) -> Result<Vec<T>, Misfit>,
) -> Result<Sets<T>, Misfit> {
    let all = |name: &str, words: &[String]| -> Result<BTreeSet<T>, Misfit> {
        let read = |(index, word): (usize, &String)| read(&format!("{key}.{name}[{index}]"), word);
        let read: Vec<_> = words.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(read.into_iter().flatten().collect())
    };
    let allowed = match allow {
        None if deny.is_empty() => return Err(Misfit::new(key, "must have `allow` or `deny`")),
        Some(Allow::Only(words)) if words.is_empty() => {
            return Err(Misfit::new(format_args!("{key}.allow"), "must name at least one, or be \"any\""));
        }
        Some(Allow::Only(words)) => Some((all("allow", words)?, words)),
        Some(Allow::Any) | None => None,
    };
    let denied = all("deny", deny)?;
    let both = |(_, words): &(BTreeSet<T>, &Vec<String>)| deny.iter().position(|word| words.contains(word));
    if let Some(index) = allowed.as_ref().and_then(both) {
        return Err(Misfit::new(format_args!("{key}.deny[{index}]"), "is in `allow`, too"));
    }
    Ok((allowed.map(|(set, _)| set), denied))
}

fn id(key: &str, text: &str) -> Result<Uuid, Misfit> {
    Uuid::try_parse(text).map_err(|_| Misfit::new(key, "must be a UUID"))
}
