// SPDX-License-Identifier: EUPL-1.2
//! All schema packages of an instance: imported ones in its data folder, and the profiles shipped with the
//! engine. An imported package is a folder named by its hash, with `package.toml` and `files/`; it appears
//! with one rename and is never changed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
};

use kop_core::{ContentHash, Diagnostic};

use crate::{
    archive,
    files::Files,
    import::{self, ImportReport},
    package::{Cache, Manifest, Package, PackageInfo, Source},
};

/// All schema packages of an instance.
pub struct SchemaStore {
    folder: PathBuf,
    packages: RwLock<Vec<Arc<Package>>>,
    cache: Arc<Cache>,
}

impl SchemaStore {
    /// Opens the packages imported into a folder (which need not exist yet) and, where given, the profiles in
    /// `<profiles>/<standard>-<version>/`. A damaged package is reported, not passed over.
    pub fn open(packages: &Path, profiles: Option<&Path>) -> Result<Self, Vec<Diagnostic>> {
        let cache = Arc::new(Cache::default());
        let mut found = Vec::new();
        let mut problems = Vec::new();
        for folder in folders(packages)? {
            if !folder.join("package.toml").is_file() {
                continue;
            }
            match stored(&folder, &cache) {
                Ok(package) => found.push(Arc::new(package)),
                Err(problem) => problems.push(problem),
            }
        }
        for folder in profiles.map(folders).transpose()?.unwrap_or_default() {
            match profile(&folder, &cache) {
                Ok(package) => found.extend(package.map(Arc::new)),
                Err(more) => problems.extend(more),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        sort(&mut found);
        Ok(Self { folder: packages.to_owned(), packages: RwLock::new(found), cache })
    }

    /// Imports a ZIP archive of the XRepository or a folder of schema files.
    ///
    /// References to addresses on the internet are answered by the package's own files or by packages imported
    /// earlier, never fetched; what stays open is reported by name (KOP-X042).
    pub fn import(&self, path: &Path) -> Result<ImportReport, Vec<Diagnostic>> {
        let found = archive::read(path).map_err(|problem| vec![problem])?;
        let mut contents = found.files;
        import::read_all(&Files::new(contents.clone()))?;
        let mut hints = Vec::new();
        let aside = import::choose_variant(&mut contents);
        if !aside.is_empty() {
            hints.push(
                Diagnostic::new(
                    "KOP-X047",
                    "Das Paket enthält mehrere Fassungen; die eigenständige wurde genommen.",
                    "The package holds several variants; the self-contained one was taken.",
                )
                .with_detail(format!("beiseitegelassen: {}", aside.join(", "))),
            );
        }
        let mut files = Files::new(contents);
        let others = self.all();
        let borrowed = import::borrow(&mut files, &others)?;
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = if path.is_dir() {
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        } else {
            name
        };
        let info = import::describe(&files, &name, false)?;
        if let Some(known) = self.by_hash(&info.hash).filter(|known| !known.info.profile) {
            return Ok(ImportReport { package: known.info.clone(), new: false, borrowed, hints });
        }
        let files = Arc::new(files);
        import::prove(&files, &info)?;
        let sequence = others.iter().map(|package| package.sequence).max().unwrap_or_default() + 1;
        let package = self.keep(&files, &info, sequence).map_err(|problem| vec![problem])?;
        let mut packages = self.packages.write().unwrap_or_else(PoisonError::into_inner);
        packages.push(Arc::new(package));
        sort(&mut packages);
        Ok(ImportReport { package: info, new: true, borrowed, hints })
    }

    /// Writes a package beside the others and lets it appear with one rename.
    fn keep(&self, files: &Files, info: &PackageInfo, sequence: u32) -> Result<Package, Diagnostic> {
        let io = |error: std::io::Error| archive::io("Ablage der Schemapakete", &error);
        let manifest = Manifest {
            sequence,
            package: info.clone(),
            files: files.iter().map(|(path, bytes)| (path.to_owned(), ContentHash::of(bytes))).collect(),
            references: files.references(),
        };
        let text = toml::to_string(&manifest).map_err(|error| {
            Diagnostic::new(
                "KOP-X048",
                "Das Paket lässt sich nicht ablegen.",
                "The package cannot be stored.",
            )
            .with_detail(error.to_string())
        })?;
        let target = self.folder.join(info.hash.to_string());
        let draft = self.folder.join(format!(".entwurf-{}-{}", info.hash.short(), std::process::id()));
        if draft.exists() {
            fs::remove_dir_all(&draft).map_err(io)?;
        }
        for (path, bytes) in files.iter() {
            let place = draft.join("files").join(path);
            fs::create_dir_all(place.parent().unwrap_or(&draft)).map_err(io)?;
            fs::write(&place, bytes).map_err(io)?;
        }
        fs::write(draft.join("package.toml"), text).map_err(io)?;
        if target.exists() {
            // another process was faster, or an earlier copy was damaged
            fs::remove_dir_all(&target).map_err(io)?;
        }
        fs::rename(&draft, &target).map_err(io)?;
        let source =
            Source::Disk { folder: target, manifest: Box::new(manifest), loaded: Mutex::new(Weak::new()) };
        Ok(Package::new(info.clone(), sequence, source, self.cache.clone()))
    }

    fn all(&self) -> Vec<Arc<Package>> {
        self.packages.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All packages, sorted by standard and version, official ones before profiles, the latest import first.
    pub fn list(&self) -> Vec<PackageInfo> {
        self.all().iter().map(|package| package.info.clone()).collect()
    }

    /// The package of a standard's version (`xbau-hochbau`, `2.6`, in any case of letters); an imported official
    /// one goes before a profile.
    pub fn find(&self, standard: &str, version: &str) -> Option<Arc<Package>> {
        let packages = self.packages.read().unwrap_or_else(PoisonError::into_inner);
        let fits = |package: &&Arc<Package>| {
            package.info.standard.eq_ignore_ascii_case(standard)
                && package.info.version == version
                && !package.info.library
        };
        packages.iter().find(fits).cloned()
    }

    /// The package that a stored message was pinned to.
    pub fn by_hash(&self, hash: &ContentHash) -> Option<Arc<Package>> {
        let packages = self.packages.read().unwrap_or_else(PoisonError::into_inner);
        packages.iter().find(|package| package.info.hash == *hash).cloned()
    }
}

fn sort(packages: &mut [Arc<Package>]) {
    packages.sort_by(|a, b| {
        let key = |package: &Package| (package.info.profile, std::cmp::Reverse(package.sequence));
        (&a.info.standard, &a.info.version, key(a)).cmp(&(&b.info.standard, &b.info.version, key(b)))
    });
}

/// Folders in a folder, sorted; none when it does not exist. Names with a leading dot are drafts.
fn folders(path: &Path) -> Result<Vec<PathBuf>, Vec<Diagnostic>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(vec![archive::io("Ordner der Schemapakete", &error)]),
    };
    let mut found: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    Ok(found)
}

fn stored(folder: &Path, cache: &Arc<Cache>) -> Result<Package, Diagnostic> {
    let damaged = |why: String| {
        Diagnostic::new(
            "KOP-X045",
            "Die Beschreibung eines Schemapakets ist nicht lesbar.",
            "The description of a schema package cannot be read.",
        )
        .with_detail(why)
    };
    let text = archive::file(&folder.join("package.toml"))?;
    let text = String::from_utf8(text).map_err(|error| damaged(error.to_string()))?;
    let manifest: Manifest = toml::from_str(&text).map_err(|error| damaged(error.message().to_owned()))?;
    let (info, sequence) = (manifest.package.clone(), manifest.sequence);
    let source = Source::Disk {
        folder: folder.to_owned(),
        manifest: Box::new(manifest),
        loaded: Mutex::new(Weak::new()),
    };
    Ok(Package::new(info, sequence, source, cache.clone()))
}

/// A shipped profile; a folder without schemas is none.
fn profile(folder: &Path, cache: &Arc<Cache>) -> Result<Option<Package>, Vec<Diagnostic>> {
    let mut contents: BTreeMap<String, Arc<[u8]>> = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(|error| vec![archive::io("Ordner der Profile", &error)])? {
        let entry = entry.map_err(|error| vec![archive::io("Ordner der Profile", &error)])?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if Path::new(&name).extension().is_some_and(|extension| extension == "xsd") {
            contents.insert(name, archive::file(&entry.path()).map_err(|problem| vec![problem])?.into());
        }
    }
    if contents.is_empty() {
        return Ok(None);
    }
    let mut files = Files::new(contents);
    import::read_all(&files)?;
    import::borrow(&mut files, &[])?;
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let info = import::describe(&files, &name, true)?;
    files.forget();
    Ok(Some(Package::new(info, 0, Source::Memory(Arc::new(files)), cache.clone())))
}
