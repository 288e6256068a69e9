//! Bad options, nodes of other programs, and missing rights.

use std::time::Duration;

use integration_tests::{Direction, ZooKeeper, within};
use lease_core::{Clock, ErrorKind, ExpiryJudge, LeaseClient, SystemClock};
use lease_zookeeper::{
    ZooKeeperStoreOptions,
    zookeeper_client::{Acl, Acls, AuthId, Client, CreateMode, Permission, SaslOptions},
};

use crate::common::{LONG, PATIENCE, address, delete_all, driver, options, persistent, proxy};

#[tokio::test]
async fn options_that_cannot_be_are_errors_that_help_and_tell_no_secret() {
    let there = address(ZooKeeper::shared().await);
    let plain = ZooKeeperStoreOptions::new();
    let cases = [
        ("no address", plain.connect("").await),
        ("an empty address", plain.connect("127.0.0.1:1,,").await),
        ("a password", plain.connect("app:hunter2@127.0.0.1:1").await),
        ("a chroot in the address", plain.connect("127.0.0.1:1/hunter2").await),
        ("no port", plain.connect("127.0.0.1:port").await),
        ("a relative chroot", plain.clone().with_chroot("leases").connect(&there).await),
        ("no chroot", plain.clone().with_chroot("/").connect(&there).await),
        ("no time for a session", plain.clone().with_session_timeout(Duration::ZERO).connect(&there).await),
        ("no time to connect", plain.clone().with_connect_timeout(Duration::ZERO).connect(&there).await),
        ("no ACL", plain.clone().with_acls([]).connect(&there).await),
        ("an ACL without credentials", options().with_acls(Acls::creator_all().to_vec()).connect(&there).await),
        ("no user", plain.clone().with_digest("", "hunter2").connect(&there).await),
        ("another judge", plain.clone().with_expiry_judge(ExpiryJudge::Process).connect(&there).await),
    ];
    for (case, outcome) in cases {
        let error = outcome.expect_err(case);
        println!("{case}: {error}");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{case}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{case}: {error:?}");
    }
}

#[tokio::test]
async fn a_chroot_needs_a_node_above_it_that_is_not_ephemeral() {
    let server = ZooKeeper::shared().await;
    let missing = options().chroot;
    let below = options().with_chroot(format!("{missing}/leases"));
    let error = below.connect(&address(server)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains(&format!("{missing} does not exist: create it")), "{error}");
    let client = driver(server).await;
    client.create(&missing, b"", &persistent()).await.unwrap();
    below.connect(&address(server)).await.unwrap();

    let ephemeral = options();
    client.create(&ephemeral.chroot, b"", &CreateMode::Ephemeral.with_acls(Acls::anyone_all())).await.unwrap();
    for chroot in [ephemeral.chroot.clone(), format!("{}/leases", ephemeral.chroot)] {
        let error = options().with_chroot(chroot).connect(&address(server)).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("ephemeral"), "{error}");
    }
}

#[tokio::test]
async fn a_chroot_that_vanishes_is_an_error_that_says_so() {
    let server = ZooKeeper::shared().await;
    let options = options();
    let client = LeaseClient::new(options.connect(&address(server)).await.unwrap());
    delete_all(&driver(server).await, &options.chroot).await;
    for error in
        [client.try_acquire("job", LONG).await.map(drop).unwrap_err(), client.list("", None, 9).await.unwrap_err()]
    {
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("create the chroot"), "{error}");
    }
    // Whoever opens the store again creates it.
    options.connect(&address(server)).await.unwrap();
    assert!(client.try_acquire("job", LONG).await.unwrap().is_acquired());
}

#[tokio::test]
async fn a_node_of_another_program_is_no_lease() {
    let server = ZooKeeper::shared().await;
    let options = options();
    let leases = LeaseClient::new(options.connect(&address(server)).await.unwrap());
    let client = driver(server).await;
    for value in ["", "hello", "{}", "5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e\nhello"] {
        let path = format!("{}/job", options.chroot);
        client.create(&path, value.as_bytes(), &persistent()).await.unwrap();
        for error in [
            leases.try_acquire("job", LONG).await.map(drop).unwrap_err(),
            leases.inspect("job").await.map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            assert!(
                error.to_string().contains("job") && error.to_string().contains("directory of their own"),
                "{error}"
            );
        }
        client.delete(&path, None).await.unwrap();
    }
    let lease = leases.try_acquire("job", LONG).await.unwrap().acquired().unwrap();
    for foreign in ["job other", "a.b", "_lock_0000000001", "zzz!"] {
        client.create(&format!("{}/{foreign}", options.chroot), b"hello", &persistent()).await.unwrap();
    }
    let listed = leases.list("", None, 9).await.unwrap();
    assert_eq!(listed.iter().map(|record| record.name.as_str()).collect::<Vec<_>>(), ["job"]);
    lease.release().await.unwrap();
}

#[tokio::test]
async fn credentials_that_do_not_suffice_are_denied_and_not_printed() {
    let server = ZooKeeper::shared().await;
    let right = options().with_digest("app", "hunter2");
    let store = right.connect(&address(server)).await.unwrap();
    let client = LeaseClient::new(store.clone());
    let lease = client.try_acquire("job", LONG).await.unwrap().acquired().unwrap();
    for wrong in [right.clone().with_digest("app", "hunter3"), options().with_chroot(right.chroot.clone())] {
        let error = wrong.connect(&address(server)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(error.to_string().contains("cdrw") && !format!("{error:?}").contains("hunter"), "{error:?}");
    }
    assert!(!format!("{store:?} {right:?}").contains("hunter"));
    // The rights are taken away under an open store.
    let owner = Client::connector().with_auth("digest", b"app:hunter2").connect(&address(server)).await.unwrap();
    let only_read = [Acl::new(Permission::READ, AuthId::anyone())];
    owner.set_acl(&right.chroot, &only_read, None).await.unwrap();
    let error = client.try_acquire("other", LONG).await.map(drop).unwrap_err();
    assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("cdrw"), "{error}");
    lease.release().await.unwrap();
}

#[tokio::test]
async fn sasl_lets_in_who_knows_the_password_and_nobody_else() {
    let server = ZooKeeper::start_local(ZooKeeper::SASL_ONLY).await.unwrap();
    let (user, password) = ZooKeeper::SASL_USER;
    let right = options().with_sasl(SaslOptions::digest_md5(user, password));
    let client = LeaseClient::new(right.connect(&address(&server)).await.unwrap());
    let lease = client.try_acquire("job", LONG).await.unwrap().acquired().unwrap();
    lease.release().await.unwrap();
    // A new connection of the same session asks for them again.
    server.restart().await.unwrap();
    let lease = within("an acquisition after the restart", PATIENCE, client.acquire("job", LONG)).await.unwrap();
    lease.release().await.unwrap();

    let wrong = SaslOptions::digest_md5(user, "hunter3");
    for stranger in [right.clone().with_sasl(wrong), options().with_chroot(right.chroot.clone())] {
        let error = stranger.connect(&address(&server)).await.unwrap_err();
        println!("{error}");
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(error.to_string().contains("check the user and the password"), "{error}");
        assert!(!format!("{error:?} {stranger:?}").contains("hunter"), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_soon() {
    let (silent, through) = proxy(ZooKeeper::shared().await).await;
    silent.black_hole(Direction::Both);
    for address in ["127.0.0.1:1", &through] {
        let began = SystemClock.now();
        let error = options().with_connect_timeout(Duration::from_secs(1)).connect(address).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains(address), "{error}");
        assert!(SystemClock.now().saturating_since(began) < Duration::from_secs(3));
    }
    // One server that answers is enough.
    let both = format!("127.0.0.1:1,{}", address(ZooKeeper::shared().await));
    within("the other server", PATIENCE, options().connect(&both)).await.unwrap();
}

/// Other servers' clocks must not be believed where they may be wrong by an hour.
#[tokio::test]
async fn s03_a_jump_of_the_servers_clock_moves_no_expiry_where_contenders_judge() {
    let server = ZooKeeper::start_with_own_clock(&[]).await.unwrap();
    let clock = server.wall_clock().unwrap();
    let by_clock = options();
    let by_contenders = options().with_expiry_judge(ExpiryJudge::Contenders);
    for (options, is_moved) in [(by_contenders, false), (by_clock, true)] {
        let open = async || LeaseClient::new(options.connect(&address(&server)).await.unwrap());
        let holder = open().await;
        let lease = holder.try_acquire("job", LONG).await.unwrap().acquired().unwrap();
        clock.shift(if is_moved { 7_200_000_000_000 } else { 3_600_000_000_000 }).unwrap();
        let rival = open().await.try_acquire("job", LONG).await.unwrap();
        assert_eq!(rival.is_acquired(), is_moved);
        if let Some(rival) = rival.acquired() {
            assert!(rival.token() > lease.token(), "fencing still orders");
        }
    }
}
