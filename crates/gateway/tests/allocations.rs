//! What a shard's delivery costs in allocations: as many for a thousand clients as for a hundred. Deliberately without
//! sockets and threads: what is counted is one thread's.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use fanfare_core::{Batch, Budget, Millis, Outbox, Session, SessionId, TopicId, Wire};
use fanfare_gateway::clock::Clock;
use fanfare_gateway::metrics::Metrics;
use fanfare_gateway::sessions::Sessions;
use fanfare_gateway::shard::{Around, Command, Shard};
use fanfare_protocol::{Codec, Event, TopicKey};
use tokio::runtime;
use tokio::sync::{Semaphore, mpsc, oneshot};

const TOPIC: TopicId = TopicId(0);

/// A socket that takes all that it is offered.
struct TakesAll;

impl Wire for TakesAll {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }
}

#[test]
fn an_event_costs_a_shard_no_allocation_for_each_client() {
    let of_a_hundred = allocations_of_a_delivery(100);
    assert_eq!(allocations_of_a_delivery(1_000), of_a_hundred);
}

/// Of the second event that a shard delivers to so many clients: the first one finds the runtime without its queues.
fn allocations_of_a_delivery(clients: u64) -> u64 {
    let metrics = Arc::new(Metrics::new(1, 1));
    let around = around(Arc::clone(&metrics));
    // Everything on this thread.
    let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (commands, shard) = Shard::new(around.clone());
    runtime.spawn(shard.run());
    let client = |id| {
        let outbox = Outbox::new(Arc::new(TakesAll), Codec::Json, 1 << 20, Arc::clone(&around.budget));
        Arc::new(Session::new(SessionId(id), outbox, 25_000, Millis(0)))
    };
    let subscribed = vec![(TOPIC, TopicKey::parse("acme:channel:x").unwrap())];
    runtime.block_on(async {
        for id in 0..clients {
            add(&commands, client(id), subscribed.clone()).await;
        }
    });
    let nobody = client(clients);
    let deliver = || {
        let batches = vec![batch()];
        let turn = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let command = Command::Deliver { batches, received: Instant::now(), deliveries: None, turn };
        let counted = allocation_counter::measure(|| {
            runtime.block_on(async {
                assert!(commands.send(command).await.is_ok());
                // Answered in its turn, when the delivery is over.
                add(&commands, Arc::clone(&nobody), Vec::new()).await;
            });
        });
        counted.count_total
    };
    deliver();
    let counted = deliver();
    assert_eq!(metrics.deliveries.get(), 2 * clients);
    counted
}

fn around(metrics: Arc<Metrics>) -> Around {
    Around {
        clock: Arc::new(Clock::start()),
        metrics,
        sessions: Arc::new(Sessions::default()),
        budget: Arc::new(Budget::new(usize::MAX)),
        gap_spread_ms: 0,
        outbox_bytes_max: 1 << 20,
    }
}

/// Done when everything before it is.
async fn add(commands: &mpsc::Sender<Command>, session: Arc<Session>, topics: Vec<(TopicId, TopicKey)>) {
    let (done, is_done) = oneshot::channel();
    let command = Command::Add { session, topics, missed: Vec::new(), answer: Bytes::new(), done };
    assert!(commands.send(command).await.is_ok());
    is_done.await.unwrap();
}

/// One event, framed.
fn batch() -> Arc<Batch> {
    let event = Event::decode(Bytes::from_static(br#"{"type":"order.updated"}"#), 1_000).unwrap();
    let batch = Batch::new(TOPIC, TopicKey::parse("acme:channel:x").unwrap(), [(event, None)]);
    batch.bytes(Codec::Json, 0..batch.len());
    Arc::new(batch)
}
