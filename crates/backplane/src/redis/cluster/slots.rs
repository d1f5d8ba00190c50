//! Which primary serves which slot, see <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>.
//! Deliberately without I/O: who is asked, and when, is the coordinator's to say.

use std::collections::HashMap;
use std::sync::Arc;

use redis::Value;

use crate::redis::histories::text;
use crate::redis::server::Endpoint;

/// Slots of a cluster.
pub(super) const SLOTS: u16 = 16_384;

/// CRC16/XMODEM, as the cluster's specification has it.
const CRC_POLYNOMIAL: u16 = 0x1021;

/// The slot of a key or channel.
pub(super) fn slot_of(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    let crc = hashed.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ CRC_POLYNOMIAL }
        })
    });
    crc % SLOTS
}

/// The primary of each slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SlotMap {
    primaries: Vec<Arc<Endpoint>>,
    /// By slot, where its primary stands in the list, and the epoch of its claim.
    owners: Vec<Option<(u16, u64)>>,
}

/// From slot to slot, who serves them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) start: u16,
    pub(super) end: u16,
    pub(super) primary: Endpoint,
    /// The primary's configuration epoch: whoever gets a slot has a higher one than who had it before.
    pub(super) epoch: u64,
}

/// What one node of a cluster says.
pub(super) type View = Vec<Claim>;

impl SlotMap {
    /// Where nodes differ, the claim of the highest epoch counts, as it does among themselves; and of equal ones what most
    /// of them say. One that is cut off, or hears of a change late, goes on as before.
    pub(super) fn agreed(views: &[View]) -> SlotMap {
        let mut primaries: Vec<_> = views.iter().flatten().map(|claim| &claim.primary).collect();
        // In an order of their own, so that the same map is always equal.
        primaries.sort();
        primaries.dedup();
        let numbers: HashMap<_, _> = primaries.iter().copied().zip(0_u16..).collect();
        let mut votes: Vec<Vec<(u16, u64, u32)>> = vec![Vec::new(); usize::from(SLOTS)];
        for claim in views.iter().flatten() {
            let Some(&number) = numbers.get(&claim.primary) else { continue };
            for votes in votes.iter_mut().take(usize::from(claim.end) + 1).skip(usize::from(claim.start)) {
                match votes.iter_mut().find(|(of, ..)| *of == number) {
                    Some((_, epoch, count)) => (*epoch, *count) = (claim.epoch.max(*epoch), *count + 1),
                    None => votes.push((number, claim.epoch, 1)),
                }
            }
        }
        let winner = |votes: Vec<(u16, u64, u32)>| {
            let winner = votes.into_iter().max_by_key(|(_, epoch, count)| (*epoch, *count));
            winner.map(|(of, epoch, _)| (of, epoch))
        };
        let owners = votes.into_iter().map(winner).collect();
        SlotMap { primaries: primaries.into_iter().cloned().map(Arc::new).collect(), owners }
    }

    /// The map as a node would say it.
    pub(super) fn view(&self) -> View {
        let mut view = View::new();
        let mut last = None;
        for (slot, owner) in (0..).zip(&self.owners) {
            match (*owner, view.last_mut()) {
                (Some(_), Some(claim)) if *owner == last => claim.end = slot,
                (Some((number, epoch)), _) => {
                    if let Some(primary) = self.primaries.get(usize::from(number)) {
                        view.push(Claim { start: slot, end: slot, primary: (**primary).clone(), epoch });
                    }
                }
                (None, _) => {}
            }
            last = *owner;
        }
        view
    }

    /// None when nobody serves it.
    pub(super) fn owner(&self, slot: u16) -> Option<&Arc<Endpoint>> {
        let (number, _) = (*self.owners.get(usize::from(slot))?)?;
        self.primaries.get(usize::from(number))
    }

    /// A node has said that this one serves the slot now.
    pub(super) fn set_owner(&mut self, slot: u16, primary: &Endpoint) {
        let known = self.primaries.iter().position(|known| **known == *primary);
        let number = known.unwrap_or_else(|| {
            self.primaries.push(Arc::new(primary.clone()));
            self.primaries.len() - 1
        });
        if let (Some(owner), Ok(number)) = (self.owners.get_mut(usize::from(slot)), u16::try_from(number)) {
            *owner = Some((number, owner.map_or(0, |(_, epoch)| epoch)));
        }
    }

    /// Does it serve any slot?
    pub(super) fn serves(&self, primary: &Endpoint) -> bool {
        self.primaries().any(|serving| **serving == *primary)
    }

    /// Those that serve slots, each once.
    pub(super) fn primaries(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        let mut serves = vec![false; self.primaries.len()];
        for (owner, _) in self.owners.iter().flatten() {
            serves[usize::from(*owner)] = true;
        }
        self.primaries.iter().zip(serves).filter_map(|(primary, serves)| serves.then_some(primary))
    }
}

/// Takes the answers to CLUSTER SLOTS and CLUSTER NODES apart; without the second one, no epoch is known. `asked` is who gave
/// them: its own address stands there without a host when it doesn't know by which name it was reached. None when it is
/// something else.
pub(super) fn view(slots: Value, nodes: &str, asked: &Endpoint) -> Option<View> {
    let Value::Array(ranges) = slots else { return None };
    let epochs: HashMap<_, u64> = nodes
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.nth(5)?.parse().ok()?))
        })
        .collect();
    ranges
        .into_iter()
        .map(|range| {
            let Value::Array(range) = range else { return None };
            let [Value::Int(start), Value::Int(end), Value::Array(primary), ..] = range.as_slice() else { return None };
            let [host, Value::Int(port), id, ..] = primary.as_slice() else { return None };
            let (host, id) = (text(host).unwrap_or_default(), text(id)?);
            let (start, end) = (u16::try_from(*start).ok()?, u16::try_from(*end).ok()?);
            (end < SLOTS).then_some(())?;
            let primary = member(asked, host, u16::try_from(*port).ok()?);
            Some(Claim { start, end, primary, epoch: epochs.get(id).copied().unwrap_or_default() })
        })
        .collect()
}

/// Takes `<slot> <host>:<port>` of a redirection apart.
pub(super) fn redirection(words: &str, asked: &Endpoint) -> Option<(u16, Endpoint)> {
    let mut words = words.split_ascii_whitespace();
    let slot = words.next()?.parse().ok().filter(|slot| *slot < SLOTS)?;
    let (host, port) = words.next()?.rsplit_once(':')?;
    Some((slot, member(asked, host, port.parse().ok()?)))
}

fn member(asked: &Endpoint, host: &str, port: u16) -> Endpoint {
    let own = match asked {
        Endpoint::Tcp { host, .. } | Endpoint::Tls { host, .. } => host.as_str(),
        Endpoint::Unix(_) => "localhost",
    };
    let host = if host.is_empty() || host == "?" { own } else { host };
    Endpoint::new(host.to_owned(), port, asked.is_tls())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn node(port: u16) -> Endpoint {
        Endpoint::new("a".to_owned(), port, false)
    }

    #[test]
    fn hashes_as_redis_does() {
        // CLUSTER KEYSLOT of a Redis 7.
        for (key, slot) in [
            ("123456789", 0x31c3 % SLOTS),
            ("fanfare:acme:tenant", slot_of("{fanfare:acme:tenant}:head")),
            ("foo", 12_182),
            ("{foo}bar", 12_182),
            ("a{foo}{bar}", 12_182),
            ("foo{}{bar}", 8_363),
            ("", 0),
        ] {
            assert_eq!(slot_of(key), slot, "{key}");
        }
    }

    fn claims(claims: &[(u16, u16, u16, u64)]) -> View {
        let claim = |&(start, end, port, epoch)| Claim { start, end, primary: node(port), epoch };
        claims.iter().map(claim).collect()
    }

    fn owners<const N: usize>(map: &SlotMap, slots: [u16; N]) -> [Option<Endpoint>; N] {
        slots.map(|slot| map.owner(slot).map(|owner| (**owner).clone()))
    }

    #[test]
    fn the_highest_epoch_counts_and_then_most_of_the_nodes() {
        let old = claims(&[(0, 99, 1, 1), (100, SLOTS - 1, 2, 2)]);
        let new = claims(&[(0, 49, 1, 1), (50, 99, 3, 7), (100, SLOTS - 1, 2, 2)]);
        for views in [[old.clone(), old.clone(), new.clone()], [new.clone(), old.clone(), old.clone()]] {
            let map = SlotMap::agreed(&views);
            let expected = [1, 1, 3, 3, 2, 2].map(|port| Some(node(port)));
            assert_eq!(owners(&map, [0, 49, 50, 99, 100, SLOTS - 1]), expected);
            assert_eq!(map.primaries().count(), 3);
            // What is known stays so against one that has not heard of it.
            assert_eq!(SlotMap::agreed(&[old.clone(), map.view()]), map);
        }
        let [some, others] = [3, 4].map(|port| claims(&[(0, 9, port, 0)]));
        let map = SlotMap::agreed(&[some.clone(), others, some]);
        assert_eq!(owners(&map, [0, 9, 10]), [Some(node(3)), Some(node(3)), None]);
    }

    #[test]
    fn a_redirection_counts_at_once() {
        let mut map = SlotMap::agreed(&[claims(&[(0, SLOTS - 1, 1, 1)])]);
        map.set_owner(7, &node(2));
        assert_eq!(owners(&map, [7, 8, SLOTS]), [Some(node(2)), Some(node(1)), None]);
        assert_eq!(map.primaries().count(), 2);
        assert!(map.serves(&node(2)) && !map.serves(&node(3)));
    }

    #[test]
    fn takes_the_answers_of_a_node_apart() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let node_of = |host, port, id| Value::Array(vec![host, Value::Int(port), text(id)]);
        let range = |start, end, node| Value::Array(vec![Value::Int(start), Value::Int(end), node]);
        let slots =
            Value::Array(vec![range(0, 5, node_of(text("b"), 7, "aa")), range(6, 6, node_of(Value::Nil, 8, "bb"))]);
        let nodes = "aa 127.0.0.1:7@17,b master - 0 0 12 connected 0-5\nbb :8@18 myself,master - 0 0 3 connected 6\n";
        let b = Endpoint::new("b".to_owned(), 7, false);
        let expected = vec![
            Claim { start: 0, end: 5, primary: b, epoch: 12 },
            Claim { start: 6, end: 6, primary: node(8), epoch: 3 },
        ];
        assert_eq!(view(slots.clone(), nodes, &node(1)), Some(expected));
        assert!(view(slots, "", &node(1)).unwrap().iter().all(|claim| claim.epoch == 0));
        assert_eq!(view(Value::Okay, nodes, &node(1)), None);
        assert_eq!(view(Value::Array(vec![range(0, 16_384, node_of(text("b"), 7, "aa"))]), nodes, &node(1)), None);
    }

    #[test]
    fn an_address_without_a_host_is_the_asked_nodes() {
        assert_eq!(redirection("7 :7001", &node(1)), Some((7, node(7_001))));
        assert_eq!(redirection("7 ?:7001", &node(1)), Some((7, node(7_001))));
        assert_eq!(redirection("7 ::1:7001", &node(1)).unwrap().1.authority(), "[::1]:7001");
        let tls = Endpoint::new("a".to_owned(), 1, true);
        assert!(redirection("7 b:7001", &tls).unwrap().1.is_tls());
        for words in ["", "7", "7 a", "16384 a:1", "7 a:x"] {
            assert_eq!(redirection(words, &node(1)), None, "{words}");
        }
    }
}
