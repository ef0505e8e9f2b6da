//! Where models come from.

use std::ffi::OsString;
use std::path::PathBuf;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use trustformers::hub::{Interrupt, Options, Repo, Token};

use crate::errors;
use crate::interrupt::signalled;

/// A local folder or a repository of the hub, asked for files by name.
///
/// `name_or_path` is a folder if there is one of that name, and otherwise the id of a repository. Files of a repository come
/// from the cache that `huggingface_hub` uses too, and are downloaded into it first if they are not there. The keyword
/// arguments and the environment variables are those of `from_pretrained`. Every error that has to do with files or the hub
/// is an `OSError` that says what to do about it.
#[pyclass(frozen, name = "Repo", module = "trustformers._engine")]
pub struct PyRepo(pub Repo);

#[pymethods]
impl PyRepo {
    #[new]
    #[pyo3(signature = (name_or_path, *, revision=None, subfolder=None, cache_dir=None, local_files_only=false,
                        force_download=false, token=None))]
    #[expect(clippy::too_many_arguments, reason = "the keyword arguments of from_pretrained")]
    fn new(
        py: Python<'_>,
        name_or_path: PathBuf,
        revision: Option<String>,
        subfolder: Option<String>,
        cache_dir: Option<PathBuf>,
        local_files_only: bool,
        force_download: bool,
        token: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let defaults = Options::default();
        let options = Options {
            revision: revision.unwrap_or(defaults.revision),
            subfolder: subfolder.unwrap_or_default(),
            cache_dir,
            local_files_only,
            force_download,
            token: token.map_or(Ok(Token::Implicit), to_token)?,
            interrupt: Interrupt::new(signalled),
            ..defaults
        };
        let repo = py.detach(|| Repo::open(name_or_path, options)).map_err(errors::hub)?;
        Ok(Self(repo))
    }

    /// The path of the file of this name, downloaded first if need be, or `None` if there is no such file.
    fn file(&self, py: Python<'_>, name: &str) -> PyResult<Option<OsString>> {
        let path = py.detach(|| self.0.file(name)).map_err(errors::hub)?;
        Ok(path.map(PathBuf::into_os_string))
    }

    /// The path of the file of this name, downloaded first if need be; an `OSError` if there is no such file.
    fn require(&self, py: Python<'_>, name: &str) -> PyResult<OsString> {
        let path = py.detach(|| self.0.require(name)).map_err(errors::hub)?;
        Ok(path.into_os_string())
    }

    /// The name or path that it was opened with.
    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    /// The commit that all files are taken from, once the first one has settled it; `None` for a folder.
    #[getter]
    fn commit(&self) -> Option<String> {
        self.0.commit()
    }

    fn __repr__(&self) -> String {
        format!("Repo({:?})", self.0.name())
    }
}

/// `None`, `True`, `False` or the token itself, as in `transformers`.
fn to_token(value: &Bound<'_, PyAny>) -> PyResult<Token> {
    if let Ok(flag) = value.extract::<bool>() {
        Ok(if flag { Token::Required } else { Token::Anonymous })
    } else if let Ok(token) = value.extract::<String>() {
        Ok(Token::Given(token))
    } else {
        let kind = value.get_type().name()?;
        Err(PyTypeError::new_err(format!("token must be a str, a bool or None, not {kind}")))
    }
}
