//! The place of this process among all processes, from the launcher's environment variables.

use std::env;

use crate::Error;

/// The place of a process among all processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// The rank of this process, from 0.
    pub rank: usize,
    /// The number of processes.
    pub size: usize,
    /// The rank of this process among the processes on its machine, from 0.
    pub local_rank: usize,
    /// The number of processes on this machine.
    pub local_size: usize,
    /// The name or address of process 0's machine.
    pub host: String,
    /// The port on that machine through which the processes find each other.
    pub port: u16,
    /// True if the launcher hosts the processes' store; otherwise process 0 does.
    pub launcher_hosts_store: bool,
    /// The number of restarts by the launcher, which distinguishes this start from earlier ones.
    pub attempt: u32,
}

impl World {
    /// Reads `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `LOCAL_WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT`. Returns `None` if
    /// `WORLD_SIZE` is not set. The two `LOCAL_` variables must be set together; without them, each process counts as
    /// the only one on its machine.
    ///
    /// # Errors
    /// If a variable is missing or has an invalid value.
    pub fn from_env() -> Result<Option<Self>, Error> {
        Self::from_variables(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// Like [`World::from_env`], with variables from another source.
    ///
    /// ```
    /// # use nb_dist::World;
    /// let variable = |name: &str| match name {
    ///     "WORLD_SIZE" => Some("2".to_owned()),
    ///     "RANK" => Some("1".to_owned()),
    ///     "MASTER_ADDR" => Some("10.0.0.1".to_owned()),
    ///     "MASTER_PORT" => Some("29500".to_owned()),
    ///     _ => None,
    /// };
    /// let world = World::from_variables(variable)?.unwrap();
    /// assert_eq!((world.rank, world.size, world.local_rank), (1, 2, 0));
    /// # Ok::<(), nb_dist::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`World::from_env`].
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Error> {
        if variable("WORLD_SIZE").is_none() {
            return Ok(None);
        }
        let text = |name: &'static str, expected: &str| {
            let missing = || Error::Environment { name, found: "not set".into(), expected: expected.into() };
            variable(name).ok_or_else(missing)
        };
        let number = |name: &'static str, from: usize, to: usize| {
            let expected = format!("a number from {from} to {to}");
            let found = text(name, &expected)?;
            let number = found.parse().ok().filter(|n| (from..=to).contains(n));
            number.ok_or(Error::Environment { name, found, expected })
        };
        const MOST: usize = 65_536;
        let size = number("WORLD_SIZE", 1, MOST)?;
        let rank = number("RANK", 0, size - 1)?;
        let is_local = variable("LOCAL_RANK").is_some() || variable("LOCAL_WORLD_SIZE").is_some();
        let (local_rank, local_size) = if is_local {
            let local_rank = number("LOCAL_RANK", 0, rank)?;
            (local_rank, number("LOCAL_WORLD_SIZE", local_rank + 1, size)?)
        } else {
            (0, 1)
        };
        let attempt = match variable("TORCHELASTIC_RESTART_COUNT") {
            Some(_) => number("TORCHELASTIC_RESTART_COUNT", 0, u32::MAX as usize)? as u32,
            None => 0,
        };
        Ok(Some(Self {
            rank,
            size,
            local_rank,
            local_size,
            host: text("MASTER_ADDR", "the name or address of process 0's machine")?,
            port: number("MASTER_PORT", 1, usize::from(u16::MAX))? as u16,
            launcher_hosts_store: variable("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|flag| flag == "True"),
            attempt,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<World>, String> {
        let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        World::from_variables(variable).map_err(|e| e.to_string())
    }

    const COMPLETE: [(&str, &str); 6] = [
        ("WORLD_SIZE", "4"),
        ("RANK", "3"),
        ("LOCAL_RANK", "1"),
        ("LOCAL_WORLD_SIZE", "2"),
        ("MASTER_ADDR", "node-0"),
        ("MASTER_PORT", "29500"),
    ];

    #[test]
    fn without_a_launcher_there_is_no_world() {
        assert_eq!(read(&[("RANK", "3")]), Ok(None));
    }

    #[test]
    fn the_place_is_read_from_the_launchers_variables() {
        let expected = World {
            rank: 3,
            size: 4,
            local_rank: 1,
            local_size: 2,
            host: "node-0".into(),
            port: 29500,
            launcher_hosts_store: false,
            attempt: 0,
        };
        assert_eq!(read(&COMPLETE), Ok(Some(expected.clone())));
        let elastic = [("TORCHELASTIC_USE_AGENT_STORE", "True"), ("TORCHELASTIC_RESTART_COUNT", "2")];
        let found = read(&[&COMPLETE[..], &elastic[..]].concat());
        assert_eq!(found, Ok(Some(World { launcher_hosts_store: true, attempt: 2, ..expected })));
    }

    #[test]
    fn invalid_values_are_named() {
        for (name, value, expected) in [
            ("RANK", "4", "RANK is 4, expected a number from 0 to 3"),
            ("RANK", "-1", "RANK is -1, expected a number from 0 to 3"),
            ("WORLD_SIZE", "many", "WORLD_SIZE is many, expected a number from 1 to 65536"),
            ("LOCAL_RANK", "7", "LOCAL_RANK is 7, expected a number from 0 to 3"),
            ("MASTER_PORT", "70000", "MASTER_PORT is 70000, expected a number from 1 to 65535"),
        ] {
            let with = COMPLETE.map(|(n, old)| if n == name { (n, value) } else { (n, old) });
            assert_eq!(read(&with), Err(expected.to_owned()));
        }
        let without: Vec<_> = COMPLETE.into_iter().filter(|(name, _)| *name != "MASTER_ADDR").collect();
        let error = read(&without).unwrap_err();
        assert_eq!(error, "MASTER_ADDR is not set, expected the name or address of process 0's machine");
    }
}
