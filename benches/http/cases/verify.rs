//! `/verify` of a hot set of tokens: plain, with TLS, over HTTP/2.

use super::super::dataset::Dataset;
use super::super::figures::{Figure, Part, median, number};
use super::super::load::{Contestant, Requests, contest, costs, p99s, rates};
use super::super::node::Node;
use super::super::peers::Peer;
use super::super::processes::settle;
use super::{Bench, HOT, NO_CALLS, SHORT_STREAMS};

/// A load that a node must bear without an end, to see that it does not fall behind.
const LONG: u64 = 10;

struct Scene {
    with_audit: (Dataset, Node),
    without: Option<(Dataset, Node)>,
    empty: Peer,
    naive: Peer,
    haproxy: Peer,
    asks_ours: Peer,
    asks_empty: Peer,
}

/// How clients come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Plain,
    Tls,
    Http2,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tls => "TLS",
            Self::Http2 => "HTTP/2",
        }
    }

    fn url<'a>(self, plain: &'a str, tls: &'a str) -> &'a str {
        if self == Self::Plain { plain } else { tls }
    }

    fn requests(self, dataset: &Dataset) -> Requests {
        let path = "/verify".to_owned();
        match self {
            Self::Plain | Self::Tls => Requests::Hot { tokens: dataset.tokens.clone(), path },
            Self::Http2 => Requests::Multiplexed { tokens: dataset.first_tokens(HOT), path },
        }
    }
}

pub fn run(bench: &Bench) -> Part {
    let scene = Scene::set(bench);
    let mut part = Part { case: "verify".to_owned(), ..Part::default() };
    for way in [Way::Plain, Way::Tls, Way::Http2] {
        scene.measure(bench, way, &mut part);
    }
    scene.commands(&mut part);
    scene.without_end(&mut part);
    part
}

impl Scene {
    fn set(bench: &Bench) -> Self {
        let (directory, certificate) = (bench.directory(), &bench.certificate);
        let dataset = bench.of(HOT);
        let node = bench.node(&dataset, "with-audit", SHORT_STREAMS);
        // In a store of its own, where it can't take work off the other's hands.
        let without = bench.can_be_without_audit().then(|| {
            let dataset = bench.of(HOT + 1);
            let node = bench.node(&dataset, "without-audit", NO_CALLS);
            (dataset, node)
        });
        let empty = Peer::empty(directory, certificate);
        Self {
            naive: Peer::naive(directory, certificate, &dataset.redis.url(), &dataset.keys),
            haproxy: Peer::haproxy(directory, certificate, &dataset.keys),
            asks_ours: Peer::nginx(directory, "asks-ours", &node.plain),
            asks_empty: Peer::nginx(directory, "asks-empty", &empty.plain),
            with_audit: (dataset, node),
            without,
            empty,
        }
    }

    fn peer(&self, name: &str, peer: &Peer, way: Way) -> Contestant {
        let url = way.url(&peer.plain, &peer.tls);
        let redis = self.with_audit.0.redis.process.pid();
        Contestant::new(name, url, &way.requests(&self.with_audit.0), &[peer.process.pid(), redis])
    }

    fn ours(way: Way, name: &str, (dataset, node): &(Dataset, Node)) -> Contestant {
        let pids = [node.process.pid(), dataset.redis.process.pid()];
        Contestant::new(name, way.url(&node.plain, &node.tls), &way.requests(dataset), &pids)
    }

    /// nginx, and the node that it sets to work.
    fn asking(&self, name: &str, nginx: &Peer) -> Contestant {
        let (dataset, node) = &self.with_audit;
        let pids = [nginx.process.pid(), node.process.pid(), dataset.redis.process.pid()];
        Contestant::new(name, &nginx.plain, &Way::Plain.requests(dataset), &pids)
    }

    fn measure(&self, bench: &Bench, way: Way, part: &mut Part) {
        let mut empty = self.peer("empty axum", &self.empty, way);
        let mut ours = Self::ours(way, "Countermark", &self.with_audit);
        let mut without = self.without.as_ref().map(|ours| Self::ours(way, "Countermark, audit of calls off", ours));
        let mut naive = self.peer("naive", &self.naive, way);
        let mut haproxy = self.peer("HAProxy jwt_verify ES256", &self.haproxy, way);
        let mut asks_ours = self.asking("nginx, asks Countermark", &self.asks_ours);
        let mut asks_empty = self.asking("nginx, asks empty axum", &self.asks_empty);

        let mut all = vec![&mut empty, &mut ours, &mut naive];
        all.extend(without.as_mut());
        if way != Way::Http2 {
            all.push(&mut haproxy);
        }
        if way == Way::Plain {
            all.extend([&mut asks_ours, &mut asks_empty]);
        }
        contest(&mut all, bench.rounds, bench.seconds);
        let what = format!("hot, {}", way.name());
        part.loads.extend(all.iter().map(|one| one.load(&what)));

        let title = |rest: &str| format!("{what}: {rest}");
        let figures = &mut part.figures;
        if let Some(without) = &without {
            let bound = if way == Way::Http2 { 0.88 } else { 0.92 };
            figures.push(rates(&title("rate, audit of calls off, to empty"), without, &empty).at_least(bound));
        }
        figures.push(rates(&title("rate, audit on, to empty"), &ours, &empty).at_least(0.75));
        figures.push(costs(&title("CPU a request, audit on, to empty"), &ours, &empty).at_most(1.35));
        if way != Way::Http2 {
            figures.push(p99s(&title("p99, audit on, to empty"), &ours, &empty).at_most(1.3));
            figures.extend(
                without.as_ref().map(|without| p99s(&title("p99, audit off, to empty"), without, &empty).at_most(1.3)),
            );
        }
        let beside_naive = rates(&title("rate, audit on, to naive"), &ours, &naive);
        figures.push(match way {
            Way::Plain => beside_naive.at_least(5.0),
            Way::Tls => beside_naive.at_least(4.0),
            Way::Http2 => beside_naive,
        });
        if way != Way::Http2 {
            let beside_haproxy = rates(&title("rate, audit on, to HAProxy ES256"), &ours, &haproxy);
            figures.push(if way == Way::Plain { beside_haproxy.at_least(9.0) } else { beside_haproxy });
        }
        if way == Way::Plain {
            figures.push(rates(&title("nginx auth_request, asks us, to asks empty"), &asks_ours, &asks_empty));
        }
    }

    /// What Redis is asked for a verification, under a load that goes on: in a short one, what each pause brings would count.
    fn commands(&self, part: &mut Part) {
        let (dataset, node) = &self.with_audit;
        let mut ours = Self::ours(Way::Plain, "Countermark", &self.with_audit);
        ours.warm(1);
        settle(&[node.process.pid(), dataset.redis.process.pid()]);
        let before = dataset.redis.commands();
        ours.measure(LONG);
        let after = dataset.redis.commands();
        let (clients, scripts) = (after.0 - before.0, after.1 - before.1);
        let verifications = ours.requests();
        let of = |commands: f64, who: &str| {
            Figure::new(
                format!("hot: Redis commands a verification, audit and activity logs included, {who}"),
                commands / verifications,
                "",
            )
            .of(format!("{} in {} verifications", number(commands), number(verifications)))
        };
        part.figures.push(of(clients, "sent by clients").at_most(0.01));
        part.figures.push(of(clients + scripts, "those inside of scripts too").at_most(0.01));
    }

    /// What is put off in a second must be done in the next one.
    fn without_end(&self, part: &mut Part) {
        let mut empty = self.peer("empty axum", &self.empty, Way::Plain);
        let mut ours = Self::ours(Way::Plain, "Countermark", &self.with_audit);
        contest(&mut [&mut empty, &mut ours], 1, LONG);
        part.loads.extend([&empty, &ours].map(|one| one.load("hot, plain, 10 s without a pause")));
        part.figures.push(rates("hot, plain, 10 s without a pause: rate, audit on, to empty", &ours, &empty));
        part.figures.push(costs("hot, plain, 10 s without a pause: CPU a request, audit on, to empty", &ours, &empty));
        part.figures.push(Figure::new(
            "hot, plain, 10 s without a pause: until all activity logs are written, afterwards",
            median(ours.rests()),
            "s",
        ));
    }
}
