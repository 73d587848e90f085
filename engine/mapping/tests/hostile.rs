// SPDX-License-Identifier: EUPL-1.2
//! Scripts that mean harm, or loop by mistake: each fails its own run with a place, and the host goes on.

mod common;

use std::{time::Duration, time::Instant};

use common::{host, input, json, problem, run, source};
use kop_mapping::{HostOptions, MappingHost};

#[test]
fn each_fails_alone_and_says_where() {
    let host = host();
    let nest = "let m = []; for i in 0..9900 { m = [m]; } ";
    let parentheses = format!("{}1{}", "(".repeat(5_000), ")".repeat(5_000));
    let maps = format!("{}1{}", "#{a:".repeat(500), "}".repeat(500));
    let nots = format!("{}true", "!".repeat(20_000));
    let minus = format!("{}1", "-".repeat(20_000));
    let many_functions =
        (0..300).map(|n| format!("fn f{n}() {{ {n} }}")).collect::<Vec<_>>().join(" ") + " f1()";
    let long_chain = format!("let a = 1; a{}", " + 1".repeat(20_000));
    for (name, script, codes) in [
        ("endless loop", "let a = 0;\nloop { a += 1; }".to_owned(), &["KOP-M004"][..]),
        ("recursion", "fn f(n) { f(n + 1) }\nf(0)".into(), &["KOP-M004"]),
        ("recursion in arithmetic", "fn f(n) { -(1 + -(2 * -f(n + 1))) }\nf(0)".into(), &["KOP-M004"]),
        ("deep to_string", format!("{nest} m.to_string()"), &["KOP-M004", "KOP-M010", "OK"]),
        ("deep print", format!("{nest} print(m); 1"), &["KOP-M004", "OK"]),
        ("deep drop", format!("{nest} 1"), &["OK", "KOP-M004"]),
        ("deep compare", format!("{nest} let n = m; m == n"), &["KOP-M004", "KOP-M005", "KOP-M010", "OK"]),
        ("deep result", format!("{nest} m"), &["KOP-M004"]),
        ("deep interpolation", format!("{nest} `${{m}}`"), &["KOP-M004", "OK"]),
        ("deep id", format!("{nest} stabile_uuid(m)"), &["KOP-M004"]),
        ("string doubling", "let s = \"aa\";\nfor i in 0..64 { s += s; }".into(), &["KOP-M004"]),
        ("string padding", "let s = \"\";\ns.pad(100000000, \"x\");".into(), &["KOP-M004"]),
        ("array padding", "let a = [];\na.pad(100000000, 0);".into(), &["KOP-M004"]),
        ("map index assignment", "let m = #{}; for i in 0..20000 { m[`k${i}`] = i; }\nm".into(), &["KOP-M004"]),
        ("nested map index assignment", "let m = #{}; for i in 0..3000 { let n = #{}; n[\"a\"] = m; m = n; }\nm".into(), &["KOP-M004"]),
        ("push bomb", "let a = []; for i in 0..16000 { a.push(#{ x: i, y: [i, i] }); }\na".into(), &["KOP-M004"]),
        ("array doubling", "let a = [1];\nfor i in 0..40 { a += a; }\na".into(), &["KOP-M004"]),
        ("closure sharing", "let m = #{}; let f = || m; for i in 0..100 { m[\"x\"] = f; } m".into(), &["KOP-M004", "KOP-M009", "KOP-M010", "KOP-M005"]),
        ("shared cells in a list", "let a = []; let f = || a; a.push(f); a.push(a); a".into(), &["KOP-M009", "KOP-M010", "KOP-M004", "KOP-M005"]),
        ("sleep", "sleep(10)".into(), &["KOP-M010"]),
        ("eval", "eval(\"1\")".into(), &["KOP-M001", "KOP-M010"]),
        ("import of an absolute path", "import \"/etc/passwd\" as p;\np::x".into(), &["KOP-M010"]),
        ("import outside", "import \"../../geheim\" as p; 1".into(), &["KOP-M010"]),
        ("deep parentheses", parentheses, &["KOP-M004"]),
        ("deep maps", maps, &["KOP-M004"]),
        ("nots", nots, &["KOP-M004", "KOP-M001"]),
        ("minus", minus, &["KOP-M004", "KOP-M001"]),
        ("long chain", long_chain, &["KOP-M004", "OK"]),
        ("functions", many_functions, &["KOP-M004"]),
        ("variables", (0..600).map(|n| format!("let v{n} = {n};")).collect::<Vec<_>>().join("\n"), &["KOP-M004"]),
        ("endless catch", "loop { try { throw 1 } catch { } }".into(), &["KOP-M004"]),
        ("file flood", "for i in 0..2000 { datei(eingang.anlagen[0], `a${i}`); }".into(), &["KOP-M004"]),
        ("range", "let s = 0;\nfor i in 0..9223372036854775807 { s += 1; }".into(), &["KOP-M004"]),
        ("wide result", "let a = []; for i in 0..9000 { a.push(i); } let b = [a]; [a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a]".into(), &["KOP-M004"]),
        ("over-large script", " ".repeat((1 << 20) + 1), &["KOP-M004"]),
        ("function pointer to itself", "let f = Fn(\"f\"); fn f() { let g = Fn(\"f\"); g.call() }\nf.call()".into(), &["KOP-M004"]),
    ] {
        let begin = Instant::now();
        match run(&host, &script, &[]) {
            Ok(_) => assert!(codes.contains(&"OK"), "{name} should fail"),
            Err(problems) => {
                let problem = &problems[0];
                assert!(codes.contains(&problem.code.as_str()), "{name}: {problem:#?}");
                assert!(problem.place.as_ref().is_some_and(|place| place.line >= 1), "{name}: {problem:#?}");
            }
        }
        assert!(begin.elapsed() < Duration::from_secs(15), "{name} took {:?}", begin.elapsed());
        assert_eq!(json(&host, "eingang.vorgangsnummer"), "MU-2026-0042", "after {name}");
    }
}

#[test]
fn a_chain_of_shared_cells_does_not_overflow_the_stack() {
    let host = host();
    // Sharing by closures avoids the copies that keep other values shallow.
    for script in [
        "let m = #{}; for i in 0..200000 { let n = #{}; let f = || m; n[\"a\"] = m; let g = || n; m = n; } 1",
        "let f = || 1; for i in 0..200000 { let g = f; f = || g; } 1",
        "let f = || 1; for i in 0..200000 { let g = f; f = || g; } f",
        "let a = [0]; for i in 0..200000 { let b = a; let f = || b; a[0] = f; } a",
    ] {
        let _ = run(&host, script, &[]);
        assert_eq!(json(&host, "1"), 1);
    }
}

#[test]
fn time_is_limited_where_steps_are_few() {
    let host = MappingHost::new(HostOptions { threads: 1, deadline: Duration::from_millis(300) });
    let script = "let a = []; for i in 0..4000 { a.push(#{ x: i }); }\nloop { a.len(); }";
    let begin = Instant::now();
    let problem = problem(&host, script);
    assert_eq!(problem.code, "KOP-M004");
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn prints_are_kept_within_bounds() {
    let host = host();
    let output = run(
        &host,
        "for i in 0..5000 { print(\"x\" + i); } debug(1); let s = \"\"; s.pad(5000, \"y\"); 1",
        &[],
    )
    .unwrap();
    assert_eq!(output.prints.len(), 201);
    let long = run(&host, "let s = \"\"; s.pad(5000, \"ü\"); print(s);", &[]).unwrap();
    assert!(long.prints[0].len() <= 1_000);
}

#[test]
fn threads_share_one_script_and_async_callers_wait_without_a_runtime() {
    let host = MappingHost::new(HostOptions { threads: 2, ..HostOptions::default() });
    let script =
        host.compile(source("eingang.liste(\"flurstueck\").map(|f| f.text(\"zaehler\"))", &[])).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let output = host.run_blocking(&script, input()).unwrap();
                    assert_eq!(output.tree.to_json(), serde_json::json!(["12", "13"]));
                }
            });
        }
    });
    let mut future = Box::pin(host.run(&script, input()));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let begin = Instant::now();
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            assert!(output.is_ok());
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
}
