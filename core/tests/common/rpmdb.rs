//! Databases of rpm as rpm writes them, without rpm: some tests have no privilege, and rpm brings its log in at its end.

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use std::path::Path;

/// The header of an installed package: name, version, release, architecture, licence, source.
pub fn header(name: &str, version: &str) -> Vec<u8> {
    let source = format!("{name}-{version}-1.el9.src.rpm");
    let texts = [
        (1000, name),
        (1001, version),
        (1002, "1.el9"),
        (1011, "Mini"),
        (1014, "MIT and \"others\""),
        (1022, "x86_64"),
        (1044, source.as_str()),
    ];
    let (mut index, mut data) = (Vec::new(), Vec::new());
    for (tag, text) in texts {
        for word in [tag, 6, data.len() as u32, 1] {
            index.extend(word.to_be_bytes());
        }
        data.extend(text.bytes().chain([0]));
    }
    let sizes = [texts.len() as u32, data.len() as u32].map(u32::to_be_bytes).concat();
    [sizes, index, data].concat()
}

/// Makes a database at `file`, in its directory, which is made, too. Packages are (name, version); those of `log` stand only in
/// the log beside it, as while rpm runs.
pub fn database(file: &Path, packages: &[(&str, &str)], log: &[(&str, &str)]) {
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let database = Connection::open(file).unwrap();
    database.pragma_update(None, "journal_mode", "WAL").unwrap();
    database
        .execute_batch("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
        .unwrap();
    let insert = |list: &[(&str, &str)]| {
        for (name, version) in list {
            database.execute("INSERT INTO Packages (blob) VALUES (?1)", [header(name, version)]).unwrap();
        }
    };
    insert(packages);
    database.pragma_update(None, "wal_checkpoint", "TRUNCATE").unwrap();
    database.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    insert(log);
}
