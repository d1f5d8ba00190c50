//! The function library on a server, or on every primary of a cluster, for operators who load it themselves: what is there,
//! and loading it. Deliberately on connections of its own that end with the question; nodes make sure of the library by
//! themselves.

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::time::timeout;

use super::cluster;
use super::config::{RedisConfig, RedisFunctions, RedisScripting};
use super::connect;
use super::library::{self, CallError, Library};
use super::line::Line;
use super::server::Address;

/// The function library `fanfare` on a Redis server, or on all primaries of a Redis Cluster.
#[derive(Debug)]
pub struct FunctionLibrary {
    config: RedisConfig,
}

/// Why the library can't be looked at or loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FunctionLibraryError {
    /// Redis can't be reached, or the connection broke.
    #[error("can't reach Redis: {0}")]
    Away(String),
    /// The server refused it; what to do about it is said.
    #[error("{0}")]
    Refused(String),
}

impl FunctionLibrary {
    /// The version in this build.
    pub const VERSION: u64 = library::VERSION;

    /// On the server of this configuration.
    pub fn on(config: RedisConfig) -> FunctionLibrary {
        // Whoever asks here wants it as functions, loaded by us.
        let (functions, scripting) = (RedisFunctions::Load, RedisScripting::Functions);
        FunctionLibrary { config: RedisConfig { functions, scripting, ..config } }
    }

    /// The version that is loaded, the lowest one of a cluster's primaries; none when the library is missing on one.
    ///
    /// # Errors
    /// When Redis can't be asked.
    pub async fn loaded_version(&self) -> Result<Option<u64>, FunctionLibraryError> {
        let mut lowest = Some(u64::MAX);
        for server in self.servers().await? {
            let library = Library::new(&server);
            let loaded = with_connection(&server, async |mut connection| library.loaded_version(&mut connection).await);
            lowest = lowest.min(loaded.await?);
        }
        Ok(lowest)
    }

    /// Loads the library of this build, unless the same or a newer one is there. Returns the version that is loaded then,
    /// the lowest one of a cluster's primaries.
    ///
    /// # Errors
    /// When Redis can't be reached, or refuses. Some primaries of a cluster may have it then; to load it again does no harm.
    pub async fn load(&self) -> Result<u64, FunctionLibraryError> {
        let mut lowest = u64::MAX;
        for server in self.servers().await? {
            let library = Library::new(&server);
            let loaded = with_connection(&server, async |mut connection| library.prepare(&mut connection).await);
            lowest = lowest.min(loaded.await?);
        }
        Ok(lowest)
    }

    /// Where it belongs: one server, or the primaries that a cluster has now.
    async fn servers(&self) -> Result<Vec<RedisConfig>, FunctionLibraryError> {
        match &self.config.server.address {
            Address::Cluster(nodes) => cluster::primaries(&self.config, nodes).await.map_err(|error| away(&error)),
            _ => Ok(vec![self.config.clone()]),
        }
    }
}

fn away(cause: &dyn std::fmt::Display) -> FunctionLibraryError {
    FunctionLibraryError::Away(cause.to_string())
}

async fn with_connection<T>(
    config: &RedisConfig,
    work: impl AsyncFnOnce(MultiplexedConnection) -> Result<T, CallError>,
) -> Result<T, FunctionLibraryError> {
    let options = AsyncConnectionConfig::new();
    let link = connect::open(config, Line::new(), None, options).await.map_err(|error| away(&error))?;
    let limit = config.response_timeout;
    let done = tokio::select! {
        done = timeout(limit, work(link.connection)) => done,
        () = link.driver => return Err(away(&format!("{}: it closed the connection", config.server))),
    };
    match done {
        Err(_) => Err(away(&format!("{}: it did not answer for {limit:?}", config.server))),
        Ok(Err(CallError::Broken(error))) => Err(away(&error)),
        Ok(Err(CallError::Refused(words))) => Err(FunctionLibraryError::Refused(words)),
        Ok(Ok(value)) => Ok(value),
    }
}
