/// The transpose of a row-major matrix, block by block so that both sides stay in cache.
pub(crate) fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const BLOCK: usize = 32;
    let mut out = vec![0.0; values.len()];
    for r in (0..rows).step_by(BLOCK) {
        for c in (0..columns).step_by(BLOCK) {
            for i in r..(r + BLOCK).min(rows) {
                for j in c..(c + BLOCK).min(columns) {
                    out[j * rows + i] = values[i * columns + j];
                }
            }
        }
    }
    out
}
