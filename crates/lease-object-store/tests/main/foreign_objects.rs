//! Objects of other programs below the prefix.

use lease_core::{ErrorKind, LeaseStore};
use lease_testkit::calls::{acquire, granted, name, refused};

use crate::common::{Amazon, Azure, Google, LONG, Place, Service, assert_error, request};

async fn an_object_of_another_program_is_no_free_name<S: Service>() {
    let place = Place::<S>::new().await;
    let store = place.store().await;
    let large = "x".repeat(65 * 1024);
    for (number, content) in ["", "hello", "{}", "null", large.as_str()].into_iter().enumerate() {
        let job = name(&format!("job/{number}"));
        place.put(&store.key(&job), content).await;
        let error = acquire(&store, &request(&job, "a", LONG)).await.unwrap_err();
        assert_error(&error, ErrorKind::Invalid, "another program wrote it");
        assert_error(&store.inspect(&job).await.unwrap_err(), ErrorKind::Invalid, "another program wrote it");
        assert_eq!(place.get(&store.key(&job)).await, content, "it is not overwritten");
    }
}

async fn keys_that_are_no_names_are_in_no_list<S: Service>() {
    let place = Place::<S>::new().await;
    let store = place.store().await;
    for key in ["a.b", "job/file", "job-file", "zz!"] {
        place.put(&format!("leases/{key}"), "hello").await;
    }
    assert_eq!(store.list("", None, 10).await.unwrap(), []);
    for job in ["a", "job", "job/1", "zzz"] {
        granted(&store, &request(&name(job), "a", LONG)).await;
    }
    let names = async |prefix: &str, after: Option<&str>, limit| -> Vec<String> {
        let after = after.map(name);
        let listed = store.list(prefix, after.as_ref(), limit).await.unwrap();
        listed.into_iter().map(|record| record.name.to_string()).collect()
    };
    assert_eq!(names("", None, 10).await, ["a", "job", "job/1", "zzz"]);
    assert_eq!(names("job", None, 10).await, ["job", "job/1"]);
    assert_eq!(names("job", Some("job"), 10).await, ["job/1"]);
    assert_eq!(names("", Some("a"), 1).await, ["job"]);
    // A copy of the record under another name's key is not its lease.
    place.put(&store.key(&name("copy")), &place.get(&store.key(&name("job"))).await).await;
    assert_error(&store.inspect(&name("copy")).await.unwrap_err(), ErrorKind::Invalid, "is that of lease");
    refused(&store, &request(&name("job"), "b", LONG)).await;
}

#[tokio::test]
async fn an_object_of_another_program_is_no_free_name_on_all_services() {
    an_object_of_another_program_is_no_free_name::<Amazon>().await;
    an_object_of_another_program_is_no_free_name::<Azure>().await;
    an_object_of_another_program_is_no_free_name::<Google>().await;
}

#[tokio::test]
async fn keys_that_are_no_names_are_in_no_list_on_all_services() {
    keys_that_are_no_names_are_in_no_list::<Amazon>().await;
    keys_that_are_no_names_are_in_no_list::<Azure>().await;
    keys_that_are_no_names_are_in_no_list::<Google>().await;
}
