//! The function library on a server, for operators who load it themselves: what is there, and loading it. Deliberately on a
//! connection of its own that ends with the question; nodes make sure of the library by themselves.

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::time::timeout;

use super::config::{RedisConfig, RedisFunctions, RedisScripting};
use super::connect;
use super::library::{self, CallError, Library};
use super::line::Line;

/// The function library `fanfare` on a Redis server.
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

    /// The version that is loaded; none when the library is missing.
    ///
    /// # Errors
    /// When Redis can't be asked.
    pub async fn loaded_version(&self) -> Result<Option<u64>, FunctionLibraryError> {
        let library = Library::new(&self.config);
        self.with_connection(async move |mut connection| library.loaded_version(&mut connection).await).await
    }

    /// Loads the library of this build, unless the same or a newer one is there. Returns the version that is loaded then.
    ///
    /// # Errors
    /// When Redis can't be reached, or refuses.
    pub async fn load(&self) -> Result<u64, FunctionLibraryError> {
        let library = Library::new(&self.config);
        self.with_connection(async move |mut connection| library.prepare(&mut connection).await).await
    }

    async fn with_connection<T>(
        &self,
        work: impl AsyncFnOnce(MultiplexedConnection) -> Result<T, CallError>,
    ) -> Result<T, FunctionLibraryError> {
        let away = |cause: &dyn std::fmt::Display| FunctionLibraryError::Away(cause.to_string());
        let options = AsyncConnectionConfig::new();
        let link = connect::open(&self.config, Line::new(), None, options).await.map_err(|error| away(&error))?;
        let limit = self.config.response_timeout;
        let done = tokio::select! {
            done = timeout(limit, work(link.connection)) => done,
            () = link.driver => return Err(away(&format!("{}: it closed the connection", self.config.server))),
        };
        match done {
            Err(_) => Err(away(&format!("{}: it did not answer for {limit:?}", self.config.server))),
            Ok(Err(CallError::Broken(error))) => Err(away(&error)),
            Ok(Err(CallError::Refused(words))) => Err(FunctionLibraryError::Refused(words)),
            Ok(Ok(value)) => Ok(value),
        }
    }
}
