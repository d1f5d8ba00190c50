//! One connection of redis-rs, of whatever kind. Deliberately without a way to make one: [`crate::link`] does, or the
//! backend brings its own.

#[cfg(feature = "connection-manager")]
use redis::aio::ConnectionManager;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::SingleNodeRoutingInfo;
use redis::{Cmd, ErrorKind, Pipeline, RedisResult, ServerErrorKind, Value};

/// A connection that a backend has already: `Publisher::new(connection)` takes any of them.
#[derive(Clone)]
pub struct Connection(pub(crate) Kind);

#[derive(Clone)]
pub(crate) enum Kind {
    Server(MultiplexedConnection),
    #[cfg(feature = "connection-manager")]
    Manager(ConnectionManager),
    Cluster(ClusterConnection),
}

impl Connection {
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.0, Kind::Cluster(_))
    }

    pub(crate) async fn command(&mut self, command: &Cmd) -> RedisResult<Value> {
        let answer = match &mut self.0 {
            Kind::Server(server) => server.req_packed_command(command).await,
            #[cfg(feature = "connection-manager")]
            Kind::Manager(manager) => manager.req_packed_command(command).await,
            Kind::Cluster(cluster) => in_cluster(cluster, command).await,
        };
        answer?.extract_error()
    }

    /// An answer for each command; on a cluster all keys must be in one slot.
    pub(crate) async fn commands(&mut self, commands: &Pipeline) -> RedisResult<Vec<RedisResult<Value>>> {
        let count = commands.len();
        let answers = match &mut self.0 {
            Kind::Server(server) => server.req_packed_commands(commands, 0, count).await,
            #[cfg(feature = "connection-manager")]
            Kind::Manager(manager) => manager.req_packed_commands(commands, 0, count).await,
            Kind::Cluster(cluster) => cluster.req_packed_commands(commands, 0, count).await,
        };
        Ok(answers?.into_iter().map(Value::extract_error).collect())
    }
}

/// The library follows a slot that has moved at its next command, and one that is moving not at all when it must not repeat.
async fn in_cluster(cluster: &mut ClusterConnection, command: &Cmd) -> RedisResult<Value> {
    let error = match cluster.req_packed_command(command).await.and_then(Value::extract_error) {
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::Ask) => error,
        answer => return answer,
    };
    let Some((host, port)) = error.redirect_node().and_then(|(address, _)| address.rsplit_once(':')) else {
        return Err(error);
    };
    let Ok(port) = port.parse() else { return Err(error) };
    let mut asking = redis::pipe();
    asking.cmd("ASKING").add_command(command.clone());
    let there = SingleNodeRoutingInfo::ByAddress { host: host.to_owned(), port };
    let answers = cluster.route_pipeline(asking, 1, 1, there).await?;
    answers.into_iter().next().unwrap_or(Value::Nil).extract_error()
}

impl From<MultiplexedConnection> for Connection {
    fn from(connection: MultiplexedConnection) -> Self {
        Connection(Kind::Server(connection))
    }
}

#[cfg(feature = "connection-manager")]
impl From<ConnectionManager> for Connection {
    fn from(connection: ConnectionManager) -> Self {
        Connection(Kind::Manager(connection))
    }
}

impl From<ClusterConnection> for Connection {
    fn from(connection: ClusterConnection) -> Self {
        Connection(Kind::Cluster(connection))
    }
}
