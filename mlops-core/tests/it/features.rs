use mlops_core::data::{Column, ColumnKind, Dataset, TableSchema, Value};
use mlops_core::features::{DatePart, Encoded, Encoder, EncoderSpec, Missing, Scaling, Transform};
use mlops_core::{ElementType, ErrorKind};
use proptest::prelude::*;

fn train() -> Dataset {
    let schema = TableSchema::new([
        Column::new("amount", ColumnKind::Float),
        Column::new("visitor", ColumnKind::Text),
        Column::new("weekend", ColumnKind::Boolean),
        Column::new("region", ColumnKind::Integer),
        Column::new("time", ColumnKind::Timestamp),
    ])
    .unwrap();
    let csv = "amount,visitor,weekend,region,time\n\
               1,new,true,3,2026-11-21T18:00:00Z\n\
               3,old,false,3,2026-11-22T07:30:00Z\n\
               ,old,false,1,\n\
               NaN,odd,true,2,2025-01-01T00:00:00Z\n";
    Dataset::from_csv(csv.as_bytes(), schema).unwrap()
}

fn encode(transform: Transform, column: &str, cell: Value<'_>) -> Vec<f32> {
    let encoder = Encoder::fit(&EncoderSpec::new([(column, transform)]), &train()).unwrap();
    let place = encoder.inputs().iter().position(|input| input.name == column).unwrap();
    let mut row = [Value::Missing; 5];
    row[place] = cell;
    let mut out = vec![9.0; encoder.width()];
    encoder.encode_row(&row, &mut out).unwrap();
    out
}

#[test]
fn each_transform_gives_its_numbers() {
    let numeric = |scaling, missing| Transform::Numeric { scaling, missing };
    let standard = Transform::standardise();
    assert_eq!(encode(standard.clone(), "amount", 3.0.into()), [1.0]);
    assert_eq!(encode(standard, "amount", Value::Missing), [0.0]);
    let scaled = numeric(Scaling::MinMax, Missing::Value(2.0));
    assert_eq!(encode(scaled.clone(), "amount", 5.0.into()), [2.0]);
    assert_eq!(encode(scaled.clone(), "amount", f64::INFINITY.into()), [0.5]);
    assert_eq!(encode(scaled, "amount", Value::Missing), [0.5]);
    assert!(encode(Transform::passthrough(), "amount", Value::Missing)[0].is_nan());
    assert_eq!(encode(numeric(Scaling::None, Missing::Median), "amount", f64::NAN.into()), [2.0]);
    assert_eq!(encode(Transform::passthrough(), "weekend", true.into()), [1.0]);

    let edges = Transform::Bucketise { edges: vec![0.0, 2.0], missing: Missing::Value(7.0) };
    let bucket = |cell| encode(edges.clone(), "amount", cell)[0];
    assert_eq!([-1.0, 0.0, 1.9, 2.0, f64::INFINITY].map(|x| bucket(x.into())), [0.0, 1.0, 1.0, 2.0, 2.0]);
    assert_eq!(bucket(Value::Missing), 7.0);

    let one_hot = |cell| encode(Transform::one_hot(2), "visitor", cell);
    assert_eq!(one_hot("new".into()), [1.0, 0.0], "`new` and `odd` tie: the first in order stays");
    assert_eq!(one_hot("old".into()), [0.0, 1.0]);
    assert_eq!(one_hot("odd".into()), [0.0, 0.0]);
    assert_eq!(one_hot(Value::Missing), [0.0, 0.0]);

    let vocabulary = Transform::Vocabulary { categories_max: 2 };
    let index = |cell| encode(vocabulary.clone(), "region", cell)[0];
    assert_eq!([3, 1, 2].map(|region| index(Value::Integer(region))), [0.0, 1.0, 2.0]);
    assert_eq!(index(Value::Missing), -1.0);

    let parts = vec![DatePart::Hour, DatePart::Weekday, DatePart::Day, DatePart::Month, DatePart::Year];
    let date = Transform::DateParts { parts };
    let micros = Value::Integer(1_795_284_000_000_000);
    assert_eq!(encode(date.clone(), "time", micros), [18.0, 6.0, 21.0, 11.0, 2026.0]);
    assert!(encode(date, "time", Value::Missing).iter().all(|part| part.is_nan()));

    let hash = encode(Transform::Hash { buckets: 8 }, "visitor", "new".into());
    assert_eq!((hash.len(), hash.iter().sum::<f32>()), (8, 1.0));
    assert_eq!(hash, encode(Transform::Hash { buckets: 8 }, "visitor", "new".into()));
}

#[test]
fn hashes_never_change() {
    let places = ["new", "old", "", "ü"].map(|text| {
        encode(Transform::Hash { buckets: 1000 }, "visitor", text.into()).iter().position(|x| *x == 1.0)
    });
    // The same by an FNV-1a with the same mix in Python's whole numbers.
    assert_eq!(places, [Some(948), Some(654), Some(458), Some(20)]);
}

#[test]
fn bad_specs_and_rows_are_named() {
    let fit = |column: &str, transform| Encoder::fit(&EncoderSpec::new([(column, transform)]), &train());
    let error = |column, transform| fit(column, transform).unwrap_err().to_string();
    assert!(error("nobody", Transform::one_hot(3)).contains("`nobody` is no feature"));
    assert!(error("visitor", Transform::passthrough()).contains("`visitor` is text"));
    assert!(error("amount", Transform::one_hot(3)).contains("`amount` is float"));
    assert!(error("region", Transform::one_hot(0)).contains("0 categories"));
    assert!(error("amount", Transform::DateParts { parts: vec![DatePart::Day] }).contains("wants times"));
    let edges = Transform::Bucketise { edges: vec![2.0, 1.0], missing: Missing::NaN };
    assert!(error("amount", edges).contains("rising"));
    let empty = train().take(&[]).unwrap();
    let spec = EncoderSpec::new([("amount", Transform::passthrough())]);
    assert_eq!(Encoder::fit(&spec, &empty).unwrap_err().kind(), ErrorKind::Data);

    let encoder = fit("amount", Transform::passthrough()).unwrap();
    let mut out = [0.0];
    let error = encoder.encode_row(&[Value::Missing; 4], &mut out).unwrap_err();
    assert_eq!(error.to_string(), "the row has 4 cells, want 5: amount, visitor, weekend, region, time");
    let mut row = [Value::Missing; 5];
    row[0] = "12".into();
    assert_eq!(
        encoder.encode_row(&row, &mut out).unwrap_err().to_string(),
        "feature `amount` wants float, got `12`"
    );
    row[0] = 12.0.into();
    assert!(encoder.encode_row(&row, &mut [0.0; 2]).unwrap_err().to_string().contains("room for 2"));
}

fn full() -> Encoder {
    let spec = EncoderSpec::new([
        ("visitor", Transform::one_hot(5)),
        ("amount", Transform::standardise()),
        ("amount", Transform::passthrough()),
        ("region", Transform::Vocabulary { categories_max: 5 }),
        ("weekend", Transform::one_hot(2)),
        ("time", Transform::DateParts { parts: vec![DatePart::Hour] }),
    ]);
    Encoder::fit(&spec, &train()).unwrap()
}

#[test]
fn batches_and_rows_are_encoded_alike() {
    let encoder = full();
    let batch = encoder.encode_dataset(&train()).unwrap();
    assert_eq!(batch.ncols(), encoder.output_names().len());
    train()
        .for_each_row(|index, row| {
            let mut out = vec![0.0; encoder.width()];
            encoder.encode_row(row, &mut out)?;
            let bits = |x: &f32| x.to_bits();
            assert!(out.iter().map(bits).eq(batch.row(index).iter().map(bits)));
            Ok(())
        })
        .unwrap();
}

#[test]
fn json_keeps_every_bit_and_newer_versions_are_refused() {
    let encoder = full();
    let json = encoder.to_json().unwrap();
    assert_eq!(Encoder::from_json(&json).unwrap(), encoder);
    let newer = String::from_utf8(json.clone()).unwrap().replace("\"version\":1", "\"version\":3");
    assert_eq!(Encoder::from_json(newer.as_bytes()).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(Encoder::from_json(b"{}").unwrap_err().kind(), ErrorKind::Data);
    let hostile = String::from_utf8(json).unwrap().replace("\"input\":0", "\"input\":77");
    let error = Encoder::from_json(hostile.as_bytes()).unwrap_err();
    assert!(format!("{error:#}").contains("cell 77"), "{error:#}");
}

#[test]
fn a_constant_column_is_0_and_stays_small() {
    let schema = || TableSchema::new([Column::new("x", ColumnKind::Float)]).unwrap();
    let of = |values: &[f64]| {
        let csv = values.iter().fold("x\n".to_owned(), |csv, value| csv + &format!("{value:e}\n"));
        Dataset::from_csv(csv.as_bytes(), schema()).unwrap()
    };
    let fit = |values: &[f64], scaling| {
        let spec = EncoderSpec::new([("x", Transform::Numeric { scaling, missing: Missing::NaN })]);
        Encoder::fit(&spec, &of(values))
    };
    for (value, rows) in [(0.1, 10), (3.3, 10), (37.0, 100), (0.7, 12_330), (1e300, 7), (0.0, 3)] {
        for scaling in [Scaling::Standardise, Scaling::MinMax] {
            let encoder = fit(&vec![value; rows], scaling).unwrap();
            for request in [value, value * 1.01, 1e6] {
                let mut out = [9.0];
                encoder.encode_row(&[request.into()], &mut out).unwrap();
                assert_eq!(out, [0.0], "{value} x {rows}: {request}");
            }
        }
    }
    let huge = fit(&[-1e200, 1e200], Scaling::Standardise).unwrap();
    let mut out = [0.0];
    huge.encode_row(&[1e200.into()], &mut out).unwrap();
    assert_eq!(out, [1.0]);
    for (values, scaling) in [
        ([-1.7e308, 1.7e308], Scaling::MinMax),
        ([-1.7e308, 1.7e308], Scaling::Standardise),
        ([0.0, 5e-324], Scaling::MinMax),
    ] {
        match fit(&values, scaling) {
            Err(error) => assert!(error.to_string().contains("`x` goes from"), "{error}"),
            Ok(encoder) => {
                encoder.encode_row(&[values[1].into()], &mut out).unwrap();
                assert!((out[0] - 1.0).abs() < 1e-6, "{values:?} {scaling:?}: {out:?}");
            }
        }
    }
}

#[test]
fn a_damaged_encoder_is_an_error_and_not_a_panic_later() {
    let spec =
        EncoderSpec::new([("visitor", Transform::Hash { buckets: 8 }), ("visitor", Transform::one_hot(3))]);
    let json = String::from_utf8(Encoder::fit(&spec, &train()).unwrap().to_json().unwrap()).unwrap();
    for (good, bad) in
        [("\"buckets\":8", "\"buckets\":0"), ("[\"old\",2]", "[\"old\",9]"), ("[\"new\",0]", "[\"zzz\",0]")]
    {
        let damaged = json.replace(good, bad);
        assert_ne!(damaged, json, "{good}");
        let error = Encoder::from_json(damaged.as_bytes()).unwrap_err();
        assert!(format!("{error:#}").contains("`visitor` is damaged"), "{error:#}");
    }
}

/// Ids, buckets and dates for one input, floats for another.
fn two_inputs() -> Encoder {
    let edges = Transform::Bucketise { edges: vec![0.0, 2.0], missing: Missing::NaN };
    let parts = vec![DatePart::Hour, DatePart::Weekday, DatePart::Day, DatePart::Month];
    let spec = EncoderSpec::default()
        .indices(
            "ids",
            [
                ("visitor", Transform::Vocabulary { categories_max: 2 }),
                ("visitor", Transform::Hash { buckets: 1000 }),
                ("amount", edges),
                ("weekend", Transform::Numeric { scaling: Scaling::None, missing: Missing::Value(2.0) }),
                ("region", Transform::passthrough()),
                ("time", Transform::DateParts { parts }),
            ],
        )
        .floats("dense", [("amount", Transform::standardise()), ("visitor", Transform::one_hot(2))]);
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<EncoderSpec>(&text).unwrap(), spec);
    Encoder::fit(&spec, &train()).unwrap()
}

#[test]
fn indices_and_floats_feed_inputs_by_name() {
    let encoder = two_inputs();
    let [ids, dense] = encoder.feeds() else { panic!("{encoder:?}") };
    assert_eq!((ids.input(), ids.element(), ids.width()), (Some("ids"), ElementType::I64, 9));
    assert_eq!((dense.input(), dense.element(), dense.width()), (Some("dense"), ElementType::F32, 3));
    let counts = [4, 1001, 4].map(Some).into_iter().chain([None, None]).chain([25, 9, 33, 14].map(Some));
    assert!(ids.index_counts().into_iter().eq(counts), "{:?}", ids.index_counts());
    assert_eq!(
        encoder.output_names(),
        [
            "visitor",
            "visitor",
            "amount",
            "weekend",
            "region",
            "time.hour",
            "time.weekday",
            "time.day",
            "time.month",
            "amount",
            "visitor=new",
            "visitor=old"
        ]
    );
    let encode = |row: [Value<'_>; 5]| {
        let mut out = [9_i64; 9];
        encoder.encode_indices(0, &row, &mut out).map(|()| out)
    };
    let large = 9_007_199_254_740_993_i64;
    let time = Value::Integer(1_795_284_000_000_000);
    assert_eq!(
        encode([3.0.into(), "old".into(), true.into(), large.into(), time]).unwrap(),
        [0, 654, 2, 1, large, 18, 6, 21, 11],
        "not by way of a float"
    );
    assert_eq!(
        encode([f64::NAN.into(), "odd".into(), Value::Missing, 7.into(), Value::Missing]).unwrap()[2..],
        [3, 2, 7, 24, 8, 32, 13]
    );
    assert_eq!(
        encode([0.0.into(), "eve".into(), false.into(), 7.into(), time]).unwrap()[..3],
        [2, encode_hash("eve"), 1]
    );
    assert_eq!(encode([0.0.into(), Value::Missing, false.into(), 7.into(), time]).unwrap()[..2], [3, 1000]);
    let error = encode([Value::Missing; 5]).unwrap_err();
    assert!(error.to_string().starts_with("feature `region` is missing, which has no index"), "{error}");
    let row = [3.0.into(), "old".into(), true.into(), large.into(), time];
    let error = encoder.encode_indices(0, &row, &mut [0_i32; 9]).unwrap_err();
    assert!(error.to_string().contains("index 9007199254740993, beyond the 32 bits"), "{error}");
    let mut floats = [9.0; 3];
    encoder.encode_floats(1, &row, &mut floats).unwrap();
    assert_eq!(floats, [1.0, 0.0, 1.0]);

    let known = train().take(&[0, 1, 2, 3]).unwrap();
    let encoded = encoder.encode_dataset_feeds(&known).unwrap();
    let (Encoded::Indices(ids), Encoded::Floats(dense)) = (&encoded[0], &encoded[1]) else {
        panic!("{encoded:?}")
    };
    assert_eq!((ids.dim(), dense.dim()), ((4, 9), (4, 3)));
    assert_eq!(ids.row(3).to_vec(), [2, encode_hash("odd"), 3, 1, 2, 0, 3, 1, 1]);
    assert_eq!(dense.row(1).to_vec(), floats);
}

fn encode_hash(text: &str) -> i64 {
    let places = encode(Transform::Hash { buckets: 1000 }, "visitor", text.into());
    places.iter().position(|place| *place == 1.0).unwrap() as i64
}

#[test]
fn an_encoder_of_several_inputs_is_stored_in_a_form_of_its_own() {
    let encoder = two_inputs();
    let json = encoder.to_json().unwrap();
    assert_eq!(Encoder::from_json(&json).unwrap(), encoder);
    let json = String::from_utf8(json).unwrap();
    assert!(
        json.starts_with(r#"{"version":2,"#) && json.contains(r#""feeds":[{"input":"ids","kind":"indices""#)
    );
    let matrix = String::from_utf8(full().to_json().unwrap()).unwrap();
    assert!(matrix.starts_with(r#"{"version":1,"#) && !matrix.contains("feeds"), "earlier builds read it");
    for (good, bad, part) in [
        (r#""input":"ids""#, r#""input":"dense""#, "feeds input `dense` twice"),
        (r#""input":"ids""#, r#""input":"""#, "without a name"),
        (r#""input":"ids""#, r#""input":null"#, "not the parts of its version 2"),
        (r#""version":2"#, r#""version":1"#, "not the parts of its version 1"),
        (r#""kind":"floats""#, r#""kind":"indices""#, "`amount` is damaged"),
        (r#""buckets":1000"#, r#""buckets":0"#, "`visitor` is damaged"),
        (r#""input":4"#, r#""input":9"#, "cell 9 of rows with 5 cells"),
    ] {
        let damaged = json.replacen(good, bad, 1);
        assert_ne!(damaged, json, "{good}");
        let error = Encoder::from_json(damaged.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(format!("{error:#}").contains(part), "{error:#}");
    }
    let error = Encoder::from_json(br#"{"version":2,"inputs":[],"feeds":[]}"#).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(format!("{error:#}").contains("feeds no input"), "{error:#}");
}

#[test]
fn what_gives_no_indices_or_is_no_matrix_is_named() {
    let error = |spec: EncoderSpec| {
        let error = Encoder::fit(&spec, &train()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.to_string()
    };
    let indices = |column, transform| error(EncoderSpec::default().indices("ids", [(column, transform)]));
    let numeric = |missing| Transform::Numeric { scaling: Scaling::None, missing };
    assert!(indices("amount", Transform::passthrough()).contains("`amount` gives no indices: it is float"));
    assert!(indices("region", Transform::standardise()).contains("it is scaled"));
    assert!(indices("region", numeric(Missing::Value(0.5))).contains("no whole number"));
    assert!(indices("visitor", Transform::one_hot(3)).contains("take `Transform::Vocabulary`"));
    let year = Transform::DateParts { parts: vec![DatePart::Year] };
    assert!(indices("time", year).contains("years have no end"));
    let edges = |fill| Transform::Bucketise { edges: vec![0.0], missing: Missing::Value(fill) };
    assert!(indices("amount", edges(2.0)).contains("none of its buckets, 0 to 1"));
    assert!(indices("amount", edges(-1.0)).contains("none of its buckets, 0 to 1"));

    let amount = || [("amount", Transform::passthrough())];
    assert!(error(EncoderSpec::default()).contains("at least one column"));
    assert!(error(EncoderSpec::default().floats("a", [])).contains("at least one column"));
    assert!(error(EncoderSpec::new(amount()).floats("a", amount())).contains("name each input"));
    assert!(error(EncoderSpec::default().floats("a", amount()).floats("a", amount())).contains("`a` twice"));
    assert!(error(EncoderSpec::default().floats("", amount())).contains("without a name"));

    let encoder = two_inputs();
    let wrong = encoder.encode_dataset(&train()).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "one matrix of floats was asked for, the encoder makes indices for input `ids`, floats for input `dense`: \
         call `encode_feeds`, or `encode_floats` and `encode_indices` by the places in `feeds`"
    );
    let row = [Value::Missing; 5];
    assert_eq!(encoder.encode_row(&row, &mut [0.0; 12]).unwrap_err().kind(), ErrorKind::Invalid);
    assert!(encoder.encode_floats(0, &row, &mut [0.0; 9]).is_err(), "indices");
    assert!(encoder.encode_floats(7, &row, &mut [0.0; 9]).is_err(), "no such feed");
}

proptest! {
    #[test]
    fn any_row_is_encoded_or_refused(amount in any::<f64>(), text in ".{0,8}", region in any::<i64>(), time in any::<i64>()) {
        let encoder = full();
        let row = [amount.into(), text.as_str().into(), true.into(), region.into(), Value::Integer(time)];
        let mut out = vec![0.0; encoder.width()];
        encoder.encode_row(&row, &mut out).unwrap();

        let encoder = two_inputs();
        let mut ids = [0_i64; 9];
        encoder.encode_indices(0, &row, &mut ids).unwrap();
        let counts = encoder.feeds()[0].index_counts();
        let inside = |(id, count): (&i64, Option<u64>)| {
            count.is_none_or(|count| u64::try_from(*id).is_ok_and(|id| id < count))
        };
        prop_assert!(ids.iter().zip(counts).all(inside), "{:?}", ids);
    }
}
