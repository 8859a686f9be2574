//! The endpoint behind `tower::Service`.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use mlops_core::data::Value;
use mlops_core::{RequestId, SystemClock};
use mlops_serve::endpoint::{Cell, Endpoint, EndpointService, OwnedRequest, Request};
use tower_service::Service;

use crate::models::model;

#[test]
fn the_service_answers_as_the_endpoint_does() {
    let endpoint = Arc::new(Endpoint::new("shop", SystemClock::new()));
    endpoint.deploy(model(1, |x| x)).unwrap();
    endpoint.challenge(model(2, |x| -x), 0.5).unwrap();
    let mut service = EndpointService::new(Arc::clone(&endpoint));
    for number in 0..50_u8 {
        assert!(matches!(service.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))));
        let id = RequestId::from_key([number]);
        let keyed =
            service.call(OwnedRequest::new(id, vec![Cell::Integer(3)]).key([number])).into_inner().unwrap();
        let direct = endpoint.score(Request::new(id).key(&[number]), &[Value::Integer(3)]).unwrap();
        assert_eq!((keyed.score, keyed.origin), (direct.score, direct.origin));
    }
    let text = OwnedRequest::new(RequestId::from_key("x"), vec![Cell::from(Value::Text("three"))]);
    assert!(service.call(text).into_inner().is_err());
}

#[test]
fn cells_are_made_of_what_a_request_body_holds() {
    let cells: Vec<Cell> =
        vec![1.5.into(), 2_i64.into(), true.into(), "a".into(), String::from("b").into(), None::<i64>.into()];
    let values: Vec<Value<'_>> = cells.iter().map(Value::from).collect();
    let want = [1.5.into(), 2.into(), true.into(), "a".into(), "b".into(), Value::Missing];
    assert_eq!(values, want);
}
