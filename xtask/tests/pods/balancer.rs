//! What a Service is in a cluster: one port before several replicas, of which only ready ones get requests.
//!
//! It asks `/health` as a readiness probe does, only more often. A connection that a replica refuses goes to the next one:
//! nothing was sent yet. A request that has begun is never sent twice.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::http;

/// How often readiness is asked.
const PERIOD: Duration = Duration::from_millis(50);

struct Replica {
    port: u16,
    /// What the probe said last.
    ready: bool,
    /// Whether a person lets requests go there.
    enabled: bool,
    /// Connections at this moment.
    active: usize,
}

struct Shared {
    replicas: Mutex<Vec<Replica>>,
    /// Which replica has a client's connection, by the client's port.
    taken_by: Mutex<HashMap<u16, usize>>,
    ended: AtomicBool,
}

/// A running balancer; ended when dropped.
pub(crate) struct Balancer {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

impl Balancer {
    pub(crate) fn start(ports: &[u16]) -> Balancer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let replica = |port: &u16| Replica { port: *port, ready: http::is_ready(*port), enabled: true, active: 0 };
        let shared = Arc::new(Shared {
            replicas: Mutex::new(ports.iter().map(replica).collect()),
            taken_by: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        for number in 0..ports.len() {
            let shared = Arc::clone(&shared);
            thread::spawn(move || probe(&shared, number));
        }
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if serving.ended.load(Ordering::SeqCst) {
                    return;
                }
                let serving = Arc::clone(&serving);
                // A replica that is killed is what some tests are about.
                thread::spawn(move || drop(serve(&serving, &client)));
            }
        });
        Balancer { port, shared }
    }

    /// Lets requests go to a replica, or no more; those that are there go on.
    pub(crate) fn enable(&self, replica: usize, enabled: bool) {
        self.shared.replicas.lock().unwrap()[replica].enabled = enabled;
    }

    /// Whether requests go to a replica now.
    pub(crate) fn serves(&self, replica: usize) -> bool {
        let replicas = self.shared.replicas.lock().unwrap();
        replicas[replica].ready && replicas[replica].enabled
    }

    /// Connections that a replica has now.
    pub(crate) fn active(&self, replica: usize) -> usize {
        self.shared.replicas.lock().unwrap()[replica].active
    }

    /// The table of which replica has which client.
    pub(crate) fn taken_by(&self, client_port: u16) -> Option<usize> {
        self.shared.taken_by.lock().unwrap().get(&client_port).copied()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn probe(shared: &Shared, number: usize) {
    let port = shared.replicas.lock().unwrap()[number].port;
    while !shared.ended.load(Ordering::SeqCst) {
        let ready = http::is_ready(port);
        shared.replicas.lock().unwrap()[number].ready = ready;
        thread::sleep(PERIOD);
    }
}

/// The replica with the fewest connections.
fn choose(shared: &Shared) -> Option<(usize, u16)> {
    let mut replicas = shared.replicas.lock().unwrap();
    let fit = replicas.iter_mut().enumerate().filter(|(_, replica)| replica.ready && replica.enabled);
    let (number, replica) = fit.min_by_key(|(_, replica)| replica.active)?;
    replica.active += 1;
    Some((number, replica.port))
}

fn serve(shared: &Shared, client: &TcpStream) -> io::Result<()> {
    let client_port = client.peer_addr()?.port();
    loop {
        let Some((number, port)) = choose(shared) else {
            return client.shutdown(Shutdown::Both);
        };
        let connected = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), http::PATIENCE);
        let passed = connected.as_ref().ok().map(|replica| {
            shared.taken_by.lock().unwrap().insert(client_port, number);
            pass(client, replica)
        });
        let mut replicas = shared.replicas.lock().unwrap();
        replicas[number].active -= 1;
        match passed {
            Some(done) => return done,
            // Until the probe says otherwise.
            None => replicas[number].ready = false,
        }
    }
}

/// Passes bytes both ways until the replica ends.
fn pass(client: &TcpStream, replica: &TcpStream) -> io::Result<()> {
    let (mut from_client, mut to_replica) = (client.try_clone()?, replica.try_clone()?);
    let (mut from_replica, mut to_client) = (replica.try_clone()?, client.try_clone()?);
    let upload = thread::spawn(move || io::copy(&mut from_client, &mut to_replica));
    let downloaded = io::copy(&mut from_replica, &mut to_client);
    let _ = client.shutdown(Shutdown::Both);
    let _ = replica.shutdown(Shutdown::Both);
    let _ = upload.join();
    downloaded.map(drop)
}
