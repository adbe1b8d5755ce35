/// Where the values of a model's weights come from.
pub(crate) trait WeightSource {
    type Error;

    /// The values, in row-major order, of the tensor that files have under `name`.
    fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Self::Error>;
}
