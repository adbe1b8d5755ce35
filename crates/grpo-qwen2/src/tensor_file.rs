//! Files of named tensors, in the safetensors format.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use grpo_files::write_atomically;
use grpo_kernels::to_host;
use half::{bf16, f16};
use safetensors::tensor::{Dtype as StoredDtype, Metadata, TensorInfo};

use crate::text_file::check_pointer;
use crate::{Dtype, ModelError};

/// The most bytes a header may have, the same limit as in the reference implementation.
const MAX_HEADER: u64 = 100_000_000;

/// A safetensors file, read one tensor at a time. Whatever the file contains, a fault in it is an error.
pub struct TensorFile {
    path: PathBuf,
    file: File,
    /// Where the tensors begin in the file.
    data_start: u64,
    tensors: HashMap<String, TensorInfo>,
}

impl TensorFile {
    /// Opens a file, and checks that its header matches its length.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let damaged = |reason: String| ModelError::Damaged { path: path.into(), reason };
        let mut file = File::open(path).map_err(ModelError::io(path))?;
        let len = file.metadata().map_err(ModelError::io(path))?.len();
        let mut beginning = Vec::new();
        Read::by_ref(&mut file).take(64).read_to_end(&mut beginning).map_err(ModelError::io(path))?;
        check_pointer(path, &beginning)?;
        file.rewind().map_err(ModelError::io(path))?;
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|_| damaged(format!("{len} bytes are too few for a header")))?;
        let header_len = u64::from_le_bytes(length);
        if header_len > MAX_HEADER || header_len > len.saturating_sub(8) {
            return Err(damaged(format!("the header claims {header_len} of the file's {len} bytes")));
        }
        let mut header = vec![0; header_len as usize];
        file.read_exact(&mut header).map_err(ModelError::io(path))?;
        // Also checks that the tensors fill the data without gaps or overlaps.
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|e| damaged(e.to_string()))?;
        let (found, expected) = (len - 8 - header_len, metadata.data_len() as u64);
        if found != expected {
            return Err(damaged(format!("{found} bytes of tensors where the header says {expected}")));
        }
        let tensors = metadata.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect();
        Ok(Self { path: path.into(), file, data_start: 8 + header_len, tensors })
    }

    /// The names of the tensors, in no particular order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The values of a tensor of this shape in f32, in row-major order, all finite.
    pub fn read(&mut self, tensor: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        self.read_part(tensor, shape, 0..usize::MAX)
    }

    /// The values in a range.
    pub(crate) fn read_part(
        &mut self,
        tensor: &str,
        shape: &[usize],
        part: Range<usize>,
    ) -> Result<Vec<f32>, ModelError> {
        let (path, name) = (self.path.clone(), tensor.to_string());
        let Some(info) = self.tensors.get(tensor) else {
            return Err(ModelError::MissingTensor { path, tensor: name });
        };
        if info.shape != shape {
            let (found, expected) = (info.shape.clone(), shape.to_vec());
            return Err(ModelError::WrongShape { path, tensor: name, found, expected });
        }
        let (dtype, (start, end)) = (info.dtype, info.data_offsets);
        let size = (end - start) / shape.iter().product::<usize>().max(1);
        let place = |index: usize| index.saturating_mul(size).saturating_add(start).min(end);
        let bytes = self.bytes(place(part.start), place(part.end))?;
        let Some(values) = decode(dtype, &bytes) else {
            return Err(ModelError::WrongDtype { path, tensor: name, found: format!("{dtype:?}") });
        };
        match values.iter().position(|v| !v.is_finite()) {
            Some(index) => {
                let value = values[index];
                Err(ModelError::NonFinite { path, tensor: name, value, index: part.start + index })
            }
            None => Ok(values),
        }
    }

    fn bytes(&mut self, start: usize, end: usize) -> Result<Vec<u8>, ModelError> {
        let mut bytes = vec![0; end - start];
        self.file
            .seek(SeekFrom::Start(self.data_start + start as u64))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(ModelError::io(&self.path))?;
        Ok(bytes)
    }
}

/// Numbers of a supported format as f32.
fn decode(dtype: StoredDtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let pairs = || bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
    match dtype {
        StoredDtype::BF16 => Some(pairs().map(|b| bf16::from_le_bytes(b).to_f32()).collect()),
        StoredDtype::F16 => Some(pairs().map(|b| f16::from_le_bytes(b).to_f32()).collect()),
        StoredDtype::F32 => {
            Some(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        }
        _ => None,
    }
}

/// A tensor to be written. Its values are computed only when it is written, so that there is one in memory at a time.
pub struct NamedTensor<'a> {
    name: String,
    shape: Vec<usize>,
    dtype: Dtype,
    /// One after the other.
    values: Box<dyn Fn() -> Vec<Vec<f32>> + 'a>,
}

impl<'a> NamedTensor<'a> {
    /// A tensor with this name and the values that `tensor` computes, written in `dtype`.
    pub fn new<const D: usize>(
        name: String,
        shape: [usize; D],
        dtype: Dtype,
        tensor: impl Fn() -> Tensor<D> + 'a,
    ) -> Self {
        Self::of_parts(name, shape, dtype, move || vec![tensor()])
    }

    /// The same for a tensor that is held in several, one after the other.
    pub fn of_parts<const D: usize, const P: usize>(
        name: String,
        shape: [usize; D],
        dtype: Dtype,
        parts: impl Fn() -> Vec<Tensor<P>> + 'a,
    ) -> Self {
        Self::of_values(name, shape, dtype, move || parts().into_iter().map(to_host).collect())
    }

    /// The same for values that are not those of a tensor, one list after the other.
    pub fn of_values<const D: usize>(
        name: String,
        shape: [usize; D],
        dtype: Dtype,
        values: impl Fn() -> Vec<Vec<f32>> + 'a,
    ) -> Self {
        Self { name, shape: shape.to_vec(), dtype, values: Box::new(values) }
    }

    fn bytes(&self) -> Vec<u8> {
        let values = (self.values)().into_iter().flatten();
        match self.dtype {
            Dtype::F32 => values.flat_map(f32::to_le_bytes).collect(),
            Dtype::Bf16 => values.flat_map(|v| bf16::from_f32(v).to_le_bytes()).collect(),
        }
    }
}

/// Writes tensors to a file: the header's length, the header, the tensors. As safe as [`write_atomically`].
pub fn write_tensors(path: &Path, tensors: &[NamedTensor<'_>]) -> Result<(), ModelError> {
    let header = header(tensors);
    let written = write_atomically(path, |file| {
        let mut file = BufWriter::new(file);
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for tensor in tensors {
            file.write_all(&tensor.bytes())?;
        }
        file.flush()
    });
    written.map_err(|cause| ModelError::Io { path: path.into(), cause })
}

/// The JSON that describes the tensors and their offsets, padded so that the data begins at a multiple of 8 bytes.
fn header(tensors: &[NamedTensor<'_>]) -> Vec<u8> {
    let mut end = 0;
    let place = |tensor: &NamedTensor<'_>| {
        let (dtype, size) = match tensor.dtype {
            Dtype::F32 => (StoredDtype::F32, 4),
            Dtype::Bf16 => (StoredDtype::BF16, 2),
        };
        let (shape, start) = (tensor.shape.clone(), end);
        end += shape.iter().product::<usize>() * size;
        (tensor.name.clone(), TensorInfo { dtype, shape, data_offsets: (start, end) })
    };
    let tensors = tensors.iter().map(place).collect();
    // Some versions of transformers reject a file that does not say which framework wrote it.
    let format = HashMap::from([("format".to_string(), "pt".to_string())]);
    let metadata = Metadata::new(Some(format), tensors).expect("tensors stand one after the other");
    let mut header = serde_json::to_vec(&metadata).expect("names and numbers can be written");
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}
