//! Maps as files that other programs read.

use std::io::Write;

use super::GridMap;
use crate::elements::Elements;
use crate::{Error, Interpolation, Measure, Result};

impl GridMap {
    /// Writes the nodes as comma-separated text with a line of names: the parameters `s1`, ..., the values `f1`, ..., and, of a measure, the
    /// `mass` that each node receives.
    ///
    /// # Errors
    /// [`Error::Size`] if the points have another number of coordinates, [`Error::Io`] if the writer fails.
    pub fn to_csv(&self, mut writer: impl Write, measure: Option<&Measure>) -> Result<()> {
        let mass = match measure {
            Some(measure) => Some(self.barycenter_field(measure, 2.0)?.mass),
            None => None,
        };
        let m = self.grid().domain().dimension();
        let names = (1..=m)
            .map(|i| format!("s{i}"))
            .chain((1..=self.dimension()).map(|i| format!("f{i}")))
            .chain(mass.iter().map(|_| "mass".to_owned()));
        let mut text = names.collect::<Vec<_>>().join(",");
        text.push('\n');
        for node in 0..self.grid().len() {
            let numbers = self
                .grid()
                .parameters(node)
                .into_iter()
                .chain(self.value(node).iter().copied())
                .chain(mass.iter().map(|mass| mass[node]));
            text.push_str(&numbers.map(|x| x.to_string()).collect::<Vec<_>>().join(","));
            text.push('\n');
        }
        writer.write_all(text.as_bytes()).map_err(written)
    }

    /// Writes a surface in R^3 as a Wavefront OBJ file, its triangles with the orientation of the parameters.
    ///
    /// # Errors
    /// [`Error::Size`] if this is no surface or not in R^3, [`Error::Io`] if the writer fails.
    pub fn to_obj(&self, mut writer: impl Write) -> Result<()> {
        for (what, expected, found) in [
            (
                "parameters of a surface",
                2,
                self.grid().domain().dimension(),
            ),
            ("coordinates of a surface in space", 3, self.dimension()),
        ] {
            if expected != found {
                return Err(Error::Size {
                    what,
                    expected,
                    found,
                });
            }
        }
        let mut text = String::new();
        for value in self.values().chunks_exact(3) {
            text.push_str(&format!("v {} {} {}\n", value[0], value[1], value[2]));
        }
        let elements = Elements::new(self.grid(), Interpolation::Linear);
        for element in 0..elements.len() {
            let vertices = elements.vertices(element);
            text.push_str(&format!(
                "f {} {} {}\n",
                vertices[0] + 1,
                vertices[1] + 1,
                vertices[2] + 1
            ));
        }
        writer.write_all(text.as_bytes()).map_err(written)
    }
}

fn written(source: std::io::Error) -> Error {
    Error::Io {
        path: "the output".into(),
        source,
    }
}
