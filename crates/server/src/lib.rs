//! The upgrade server: repository, upgrade database and HTTP API.
