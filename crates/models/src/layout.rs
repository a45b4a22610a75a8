//! How a file's tensor holds a parameter. Almost always as it is; GPT's layers are stored transposed, with query, key
//! and value side by side in one matrix (`Conv1D`).

/// From a parameter to the tensor of a file and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As it is.
    Same,
    /// Columns of a transposed matrix: of `[in, parts · out]` those of `part` are the parameter `[out, in]`; of a
    /// vector `[parts · out]`, its stretch.
    Columns {
        /// Which part, from 0.
        part: usize,
        /// How many there are.
        parts: usize,
    },
}

impl Layout {
    /// The shape of the file's tensor for a parameter of `shape`.
    pub fn file_shape(self, shape: &[usize]) -> Vec<usize> {
        match (self, shape) {
            (Self::Columns { parts, .. }, [outputs, inputs]) => vec![*inputs, parts * outputs],
            (Self::Columns { parts, .. }, [outputs]) => vec![parts * outputs],
            _ => shape.to_vec(),
        }
    }

    /// The parameter of `shape` from the elements of the file's tensor.
    ///
    /// # Panics
    /// When `file` is not of [`Self::file_shape`].
    pub fn take(self, file: &[f32], shape: &[usize]) -> Vec<f32> {
        let mut values = vec![0.0; shape.iter().product()];
        self.pairs(file.len(), shape, |at, from| values[at] = file[from]);
        values
    }

    /// Writes the parameter of `shape` into the elements of the file's tensor.
    ///
    /// # Panics
    /// When `file` is not of [`Self::file_shape`].
    pub fn put(self, values: &[f32], shape: &[usize], file: &mut [f32]) {
        self.pairs(file.len(), shape, |at, to| file[to] = values[at]);
    }

    /// Calls `f` with the place of every element in the parameter and in the file's tensor of `elements`.
    fn pairs(self, elements: usize, shape: &[usize], mut f: impl FnMut(usize, usize)) {
        assert_eq!(elements, self.file_shape(shape).iter().product::<usize>(), "elements of the file's tensor");
        let Self::Columns { part, parts } = self else {
            (0..elements).for_each(|i| f(i, i));
            return;
        };
        let (outputs, inputs) = (shape[0], shape.get(1).copied().unwrap_or(1));
        for input in 0..inputs {
            for output in 0..outputs {
                f(output * inputs + input, (input * parts + part) * outputs + output);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_transposed_matrix() {
        // [in 2, 3 parts of 2 outputs]
        let file: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let layout = |part| Layout::Columns { part, parts: 3 };
        assert_eq!(layout(1).take(&file, &[2, 2]), [2.0, 8.0, 3.0, 9.0]);
        let mut again = vec![0.0; 12];
        for part in 0..3 {
            layout(part).put(&layout(part).take(&file, &[2, 2]), &[2, 2], &mut again);
        }
        assert_eq!(again, file);
    }

    #[test]
    fn parts_of_a_vector() {
        let layout = Layout::Columns { part: 2, parts: 3 };
        assert_eq!(layout.file_shape(&[2]), [6]);
        assert_eq!(layout.take(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], &[2]), [4.0, 5.0]);
    }
}
