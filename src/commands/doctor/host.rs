//! What the machine gives: disk, permissions, limits.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::config::Config;

/// Free space below which the ledger may soon not be written.
const LITTLE_SPACE: u64 = 1 << 30;
/// Free space below which it will not be.
const NO_SPACE: u64 = 64 << 20;
/// Open files that are needed beside connections.
const OTHER_FILES: u64 = 128;

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut findings = vec![disk(&config.database.path), files(config)];
    findings.extend(permissions(&config.database.path));
    findings
}

/// The directory, or the nearest one above it that exists.
fn existing(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    parent.ancestors().find(|directory| directory.exists()).unwrap_or(Path::new("/")).to_owned()
}

fn disk(database: &Path) -> Finding {
    let directory = existing(database);
    let free = match rustix::fs::statvfs(&directory) {
        Ok(of) => of.f_bavail.saturating_mul(of.f_frsize),
        Err(error) => return Finding::bad("disk", format!("{}: {error}", directory.display()), "make it readable"),
    };
    let found = format!("{} MiB free at {}", free >> 20, directory.display());
    let remedy = "free some space; without it no request can be written down, and none is sent";
    match free {
        0..NO_SPACE => Finding::bad("disk", found, remedy),
        NO_SPACE..LITTLE_SPACE => Finding::doubtful("disk", found, remedy),
        _ => Finding::good("disk", found),
    }
}

fn permissions(database: &Path) -> Vec<Finding> {
    let directory = existing(database);
    let mut findings = Vec::new();
    if let Err(error) = rustix::fs::access(&directory, rustix::fs::Access::WRITE_OK) {
        let remedy = format!("make {} writable for the user who runs the gateway", directory.display());
        findings.push(Finding::bad("permissions", format!("{}: {error}", directory.display()), remedy));
    }
    let key = crate::store::master_key_file(database);
    for file in [database, key.as_path()] {
        let Ok(of) = fs::metadata(file) else { continue };
        if of.permissions().mode() & 0o077 != 0 {
            let found =
                format!("{} can be read by others (mode {:o})", file.display(), of.permissions().mode() & 0o777);
            findings.push(Finding::bad("permissions", found, format!("chmod 600 {}", file.display())));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::good("permissions", format!("{} is the owner's alone, or will be", database.display())));
    }
    findings
}

fn files(config: &Config) -> Finding {
    let calls: u64 = config.providers.iter().filter(|provider| provider.enabled).map(|p| p.max_in_flight as u64).sum();
    // A call takes a connection on either side.
    let wanted = calls.saturating_mul(2).saturating_add(OTHER_FILES);
    let Some(limit) = getrlimit(Resource::Nofile).current else { return Finding::good("open files", "no limit") };
    let found = format!("at most {limit}; all places of all providers would take {wanted}");
    if limit >= wanted {
        Finding::good("open files", found)
    } else {
        let remedy =
            format!("raise it (`ulimit -n {wanted}`, or LimitNOFILE in the unit), or lower providers.*.max_in_flight");
        Finding::doubtful("open files", found, remedy)
    }
}
