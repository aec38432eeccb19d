//! The etcd of a test's own does to its clients what a real one does: these are the faults that the coordinator is held to.

use anyhow::{Result, ensure};
use catchment_e2e::etcd::{Entry, Etcd};
use catchment_e2e::proxy::{Proxy, Way};

fn values(etcd: &Etcd) -> Result<Vec<(String, Vec<u8>)>> {
    Ok(etcd.entries("/")?.into_iter().map(|Entry { key, value, .. }| (key, value)).collect())
}

#[test]
fn a_killed_etcd_comes_back_with_what_it_held() -> Result<()> {
    let mut etcd = Etcd::start_empty()?;
    etcd.put("/a", b"1")?;
    let before = etcd.revision()?;
    etcd.kill()?;
    ensure!(etcd.revision().is_err(), "it answers though it was killed");
    etcd.start()?;
    ensure!(values(&etcd)? == [("/a".to_owned(), b"1".to_vec())]);
    ensure!(etcd.revision()? == before);
    Ok(())
}

#[test]
fn a_wiped_etcd_begins_anew() -> Result<()> {
    let mut etcd = Etcd::start_empty()?;
    etcd.put("/a", b"1")?;
    etcd.put("/a", b"2")?;
    let before = etcd.revision()?;
    etcd.wipe()?;
    etcd.start()?;
    ensure!(values(&etcd)?.is_empty());
    ensure!(etcd.revision()? < before);
    Ok(())
}

#[test]
fn an_older_store_goes_back_in_revision() -> Result<()> {
    let mut etcd = Etcd::start_empty()?;
    etcd.put("/a", b"old")?;
    let backup = etcd.back_up()?;
    etcd.put("/a", b"new")?;
    etcd.put("/b", b"new")?;
    let newest = etcd.revision()?;
    etcd.restore(&backup)?;
    etcd.start()?;
    ensure!(values(&etcd)? == [("/a".to_owned(), b"old".to_vec())]);
    ensure!(etcd.revision()? == newest - 2);
    ensure!(etcd.delete("/")? == 1);
    Ok(())
}

#[test]
fn a_compacted_history_is_gone() -> Result<()> {
    let etcd = Etcd::start_empty()?;
    (0..5).try_for_each(|number| etcd.put("/a", &[number]))?;
    etcd.compact()?;
    ensure!(etcd.compact().is_err(), "it was not compacted the first time");
    ensure!(values(&etcd)? == [("/a".to_owned(), vec![4])]);
    Ok(())
}

#[test]
fn an_etcd_behind_a_cut_way_is_gone_until_it_is_mended() -> Result<()> {
    let etcd = Etcd::start_empty()?;
    let proxy = Proxy::to(etcd.address())?;
    let health = || catchment_e2e::http::get(proxy.address(), "/health");
    ensure!(health()?.status == 200);
    proxy.set(Way::Cut);
    ensure!(health().is_err());
    proxy.set(Way::Open);
    ensure!(health()?.status == 200);
    Ok(())
}
