//! Kernels that work row by row: norms, softmax, embeddings, gathers.

use proptest::prelude::*;
use ptm_kernels::dropout::{self, Dropout};
use ptm_kernels::{embedding, gather, norm, softmax};

use crate::{Numbers, assert_close, assert_close_of, at_every_level, reference};

/// Sizes with none, one and many rows and columns.
fn sizes() -> impl Strategy<Value = (usize, usize)> {
    prop_oneof![(0_usize..30, 1_usize..100), Just((301, 67)), Just((4096, 1)), Just((2, 4096)), Just((1, 1))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn norms((n, h) in sizes(), rate in prop_oneof![Just(0.0_f32), Just(0.2)], with_residual: bool, seed: u64) {
        let mut numbers = Numbers(seed);
        let [x, r, dy] = [0; 3].map(|_| numbers.vec(n * h));
        let [gamma, beta] = [0; 2].map(|_| numbers.vec(h));
        let (d, residual) = (Dropout::new(rate, seed), with_residual.then_some(&r[..]));
        let eps = 1e-5;
        // the rounding of the mean is relative to the row, what is divided by may be much smaller
        // (and sums over thousands of rows cancel)
        let tight = if h < 3 { 1e-3 } else { 4e-6 };
        // of a sum over all rows
        let size = 0.1 * (n as f64).sqrt();
        // what is normalised is compared first, then taken as given: where the parts cancel, its rounding is magnified
        let expected_sum = reference::norm(&x, residual, &gamma, Some(&beta), eps, d, &dy).sum;
        let factor = |i: usize| f64::from(d.factor(i as u64));
        at_every_level(|| {
            let f = norm::add_layer_norm(&x, residual, &gamma, &beta, eps, d, true);
            let sum = f.sum.expect("the sum was asked for");
            assert_close_of("sum", &sum, &expected_sum, 2e-7, 1.0);
            let e = reference::norm(&sum, None, &gamma, Some(&beta), eps, Dropout::OFF, &dy);
            assert_close("y", &f.y, &e.y, tight);
            let lean = norm::add_layer_norm(&x, residual, &gamma, &beta, eps, d, false);
            assert!(lean.sum.is_none() && lean.y == f.y && lean.mean == f.mean && lean.rstd == f.rstd);
            let g = norm::add_layer_norm_backward(&dy, &sum, &f.mean, &f.rstd, &gamma, d, with_residual);
            let loose = if h < 3 { 3e-2 } else { 1e-5 };
            let dx: Vec<f64> = e.dx.iter().enumerate().map(|(i, d)| d * factor(i)).collect();
            assert_close_of("dx", &g.x, &dx, loose, 0.1);
            assert_eq!(g.residual.is_some(), with_residual && d.is_on());
            if let Some(residual) = &g.residual {
                assert_close_of("dresidual", residual, &e.dx, loose, 0.1);
            }
            assert_close_of("dgamma", &g.gamma, &e.dgamma, loose, size);
            assert_close_of("dbeta", &g.beta, &e.dbeta, 1e-5, size);

            let f = norm::add_rms_norm(&x, residual, &gamma, eps, d, true);
            let sum = f.sum.expect("the sum was asked for");
            assert_close_of("rms sum", &sum, &expected_sum, 2e-7, 1.0);
            let e = reference::norm(&sum, None, &gamma, None, eps, Dropout::OFF, &dy);
            assert_close("rms y", &f.y, &e.y, 4e-6);
            let g = norm::add_rms_norm_backward(&dy, &sum, &f.rstd, &gamma, d, with_residual);
            let dx: Vec<f64> = e.dx.iter().enumerate().map(|(i, d)| d * factor(i)).collect();
            assert_close_of("rms dx", &g.x, &dx, loose, 0.1);
            assert_close_of("rms dgamma", &g.gamma, &e.dgamma, loose, size);

            let sum = norm::dropout_add(&x, &r, d);
            let expected: Vec<f64> = (0..n * h)
                .map(|i| f64::from(x[i]) * f64::from(d.factor(i as u64)) + f64::from(r[i]))
                .collect();
            assert_close_of("dropout_add", &sum, &expected, 2e-7, 1.0);
            assert_eq!(norm::dropout_add_backward(&dy, d), dropout::forward(&dy, &d));
        });
    }

    #[test]
    fn softmaxes((n, h) in sizes(), seed: u64) {
        let mut numbers = Numbers(seed);
        let x: Vec<f32> = numbers.vec(n * h).iter().map(|v| v * 10.0).collect();
        let dy = numbers.vec(n * h);
        let [p, dp, l, dl] = reference::softmax(&x, &dy, h);
        at_every_level(|| {
            let y = softmax::softmax(&x, h);
            assert_close("softmax", &y, &p, 2e-6);
            assert_close_of("softmax backward", &softmax::softmax_backward(&y, &dy, h), &dp, 1e-5, 0.1);
            let y = softmax::log_softmax(&x, h);
            assert_close("log-softmax", &y, &l, 2e-6);
            assert_close_of("log-softmax backward", &softmax::log_softmax_backward(&y, &dy, h), &dl, 1e-5, 0.1);
        });
    }

    #[test]
    fn embeddings_and_gathers((n, h) in sizes(), table_rows in 1_usize..50, seed: u64) {
        let mut numbers = Numbers(seed);
        let [a, b, c] = [0; 3].map(|_| numbers.vec(table_rows * h));
        let [ia, ib, ic] = [0; 3].map(|_| numbers.ids(n, table_rows));
        let dy = numbers.vec(n * h);
        let pick = |table: &[f32], ids: &[u32], i: usize| f64::from(table[ids[i / h] as usize * h + i % h]);
        at_every_level(|| {
            let picked: Vec<f64> = (0..n * h).map(|i| pick(&a, &ia, i)).collect();
            assert_close("embedding", &embedding::forward(&a, h, &ia), &picked, 0.0);
            assert_eq!(gather::rows(&a, h, &ia), embedding::forward(&a, h, &ia));
            let mut expected = vec![0.0; table_rows * h];
            for i in 0..n * h {
                expected[ia[i / h] as usize * h + i % h] += f64::from(dy[i]);
            }
            assert_close_of("table", &embedding::backward(&dy, h, &ia, table_rows), &expected, 1e-5, 0.1);
            assert_eq!(gather::scatter_add(&dy, h, &ia, table_rows), embedding::backward(&dy, h, &ia, table_rows));
            let tables = [(&a[..], &ia[..]), (&b[..], &ib[..]), (&c[..], &ic[..])];
            let sum = embedding::sum_forward(&tables, h);
            let expected: Vec<f64> = (0..n * h)
                .map(|i| pick(&a, &ia, i) + pick(&b, &ib, i) + pick(&c, &ic, i))
                .collect();
            assert_close_of("sum", &sum, &expected, 2e-7, 1.0);
            let (gamma, beta) = (&a[..h], &b[..h]);
            let fused = embedding::sum_layer_norm(&tables, gamma, beta, 1e-5);
            let apart = norm::add_layer_norm(&sum, None, gamma, beta, 1e-5, Dropout::OFF, false);
            assert!(fused.y == apart.y && fused.mean == apart.mean && fused.rstd == apart.rstd);
        });
    }
}

/// Rows whose elements are large next to their spread: the two-pass variance keeps its digits.
#[test]
fn layer_norm_of_shifted_rows() {
    let h = 768;
    let x: Vec<f32> = Numbers(4).vec(4 * h).iter().map(|v| v + 1000.0).collect();
    let (gamma, beta) = (vec![1.0; h], vec![0.0; h]);
    let e = reference::norm(&x, None, &gamma, Some(&beta), 1e-12, Dropout::OFF, &x);
    let f = norm::add_layer_norm(&x, None, &gamma, &beta, 1e-12, Dropout::OFF, false);
    // an element of 1000 is known to 6e-5 only
    assert_close("y", &f.y, &e.y, 2e-4);
}

#[test]
#[should_panic(expected = "row 3 of 3")]
fn an_id_beyond_the_table_is_refused() {
    embedding::forward(&[0.0; 6], 2, &[0, 3]);
}
