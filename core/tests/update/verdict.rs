//! What runs from the tree.

use super::*;
use libcv::tree::update::Need;

#[test]
fn what_runs_keeps_running_and_is_in_the_verdict() {
    let bed = Bed::deployed();
    std::fs::create_dir_all(bed.at("tree/opt")).unwrap();
    std::fs::copy("/bin/sleep", bed.at("tree/opt/napper")).unwrap();
    let first = bed.capture();
    bed.update(&first, &node()).unwrap();
    let out = bed.at("out");
    let mut child = std::process::Command::new(out.join("opt/napper")).arg("600").spawn().unwrap();
    let pid = child.id();
    let exe = || std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    while !exe().to_string_lossy().contains("napper") {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let mut program = std::fs::read("/bin/sleep").unwrap();
    program.extend_from_slice(b"a later version");
    std::fs::write(bed.at("tree/opt/napper"), program).unwrap();
    bed.write("tree/opt/other", "nobody runs this");
    let second = bed.capture();
    let dry = bed.update(&second, &UpdateOptions { dry_run: true, ..node() }).unwrap();
    let done = bed.update(&second, &node()).unwrap();
    let (alive, exe) = (child.try_wait().unwrap().is_none(), exe());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(alive && exe.to_string_lossy().ends_with("/opt/napper (deleted)"), "{exe:?}");
    for verdict in [dry.verdict, done.verdict] {
        assert_eq!((verdict.need, verdict.running), (Need::Restart, true), "{verdict:?}");
        // The service that the tests run in, if they do, has the same process.
        let mut pids: Vec<u32> = verdict.processes.iter().map(|p| p.pid).collect();
        pids.extend(verdict.services.iter().flat_map(|s| s.pids.iter().copied()));
        assert_eq!(pids, [pid]);
    }
    assert_eq!(bed.differences(&second, &out), none());
}
