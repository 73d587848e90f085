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
    cache::{Cache, SchemaMemory},
    codelist::{self, CodeList, Lists},
    files::Files,
    import::{self, ImportReport},
    licence,
    package::{Manifest, Package, PackageInfo, Source},
    service::ServiceInfo,
};

/// All schema packages of an instance.
pub struct SchemaStore {
    folder: PathBuf,
    packages: RwLock<Vec<Arc<Package>>>,
    cache: Arc<Cache>,
    lists: Arc<Lists>,
}

impl SchemaStore {
    /// Opens the packages imported into a folder (which need not exist yet) and, where given, the profiles in
    /// `<profiles>/<standard>-<version>/`. A damaged package is reported, not passed over.
    pub fn open(packages: &Path, profiles: Option<&Path>) -> Result<Self, Vec<Diagnostic>> {
        let cache = Arc::new(Cache::default());
        let lists = Arc::new(Lists::default());
        let mut found = Vec::new();
        let mut problems = Vec::new();
        for folder in folders(packages)? {
            if !folder.join("package.toml").is_file() {
                continue;
            }
            match stored(&folder, &cache, &lists) {
                Ok(package) => found.push(Arc::new(package)),
                Err(problem) => problems.push(problem),
            }
        }
        for folder in profiles.map(folders).transpose()?.unwrap_or_default() {
            match profile(&folder, &cache, &lists) {
                Ok(package) => found.extend(package.map(Arc::new)),
                Err(more) => problems.extend(more),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        sort(&mut found);
        Ok(Self { folder: packages.to_owned(), packages: RwLock::new(found), cache, lists })
    }

    /// Imports a ZIP archive of the XRepository or a folder of schema files, with the code lists (genericode),
    /// Schematron rules and service descriptions (WSDL) in it. An archive, folder or file of code lists alone becomes a package of lists, which
    /// serves all others.
    ///
    /// References to addresses on the internet are answered by the package's own files or by packages imported
    /// earlier, never fetched; what stays open is reported by name (KOP-X042).
    pub fn import(&self, path: &Path) -> Result<ImportReport, Vec<Diagnostic>> {
        let found = archive::read(path).map_err(|problem| vec![problem])?;
        let mut contents = found.files;
        import::read_all(&Files::new(contents.clone()))?;
        let mut hints = Vec::new();
        let lists = import::read_lists(&found.lists, &mut hints)?;
        let rules = import::read_rules(&found.rules, &mut hints);
        let services = import::read_services(&found.services, &mut hints);
        if contents.is_empty() && lists.is_empty() && services.is_empty() && !hints.is_empty() {
            // nothing of it can be used: then what would be worth knowing is why
            return Err(hints);
        }
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
        let mut info = import::describe(&files, &name, false)?;
        info.lists = lists.iter().map(|list| list.info.clone()).collect();
        info.rules = rules;
        info.services = services;
        (info.licences, info.unlicensed) = licence::collect(&files, &found.licences, &lists);
        info.hash = identity(&files, &info);
        if let Some(known) = self.by_hash(&info.hash).filter(|known| !known.info.profile) {
            return Ok(ImportReport { package: known.info.clone(), new: false, borrowed, hints });
        }
        let files = Arc::new(files);
        import::prove(&files, &info)?;
        let sequence = others.iter().map(|package| package.sequence).max().unwrap_or_default() + 1;
        hints.extend(self.lists.contradicted(&info.lists));
        let extra = Extra { lists: &lists, rules: &found.rules, services: &found.services };
        let package = self.keep(&files, &extra, &info, sequence).map_err(|problem| vec![problem])?;
        let mut packages = self.packages.write().unwrap_or_else(PoisonError::into_inner);
        packages.push(Arc::new(package));
        sort(&mut packages);
        Ok(ImportReport { package: info, new: true, borrowed, hints })
    }

    /// Writes a package beside the others and lets it appear with one rename.
    fn keep(
        &self,
        files: &Files,
        extra: &Extra<'_>,
        info: &PackageInfo,
        sequence: u32,
    ) -> Result<Package, Diagnostic> {
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
        let put = |place: &Path, bytes: &[u8]| {
            fs::create_dir_all(place.parent().unwrap_or(&draft)).map_err(io)?;
            fs::write(place, bytes).map_err(io)
        };
        for list in extra.lists {
            put(&codelist::place(&draft, &list.info.hash), list.bytes())?;
        }
        for rule in &info.rules {
            if let Some(bytes) = extra.rules.get(&rule.path) {
                put(&draft.join("schematron").join(format!("{}.sch", rule.hash)), bytes)?;
            }
        }
        for service in &info.services {
            if let (Some(bytes), Some(hash)) = (extra.services.get(&service.path), &service.hash) {
                put(&draft.join("dienste").join(format!("{hash}.wsdl")), bytes)?;
            }
        }
        fs::create_dir_all(&draft).map_err(io)?;
        fs::write(draft.join("package.toml"), text).map_err(io)?;
        if target.exists() {
            // another process was faster, or an earlier copy was damaged
            fs::remove_dir_all(&target).map_err(io)?;
        }
        fs::rename(&draft, &target).map_err(io)?;
        let source =
            Source::Disk { folder: target, manifest: Box::new(manifest), loaded: Mutex::new(Weak::new()) };
        Ok(Package::new(info.clone(), sequence, source, self.cache.clone(), self.lists.clone()))
    }

    /// Bounds what compiled schemas take in memory; those that are too many leave at once.
    pub fn bound_memory(&self, bytes: usize) {
        self.cache.bound(bytes);
    }

    /// What compiled schemas take in memory.
    pub fn memory(&self) -> SchemaMemory {
        self.cache.memory()
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

    /// The DVDV services that the imported packages describe, one of each name: of several the latest import's.
    pub fn services(&self) -> Vec<ServiceInfo> {
        let mut packages = self.all();
        packages.sort_by_key(|package| std::cmp::Reverse(package.sequence));
        let mut all: Vec<ServiceInfo> = Vec::new();
        for service in packages.iter().flat_map(|package| &package.info.services) {
            if all.iter().all(|known| known.name != service.name) {
                all.push(service.clone());
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The package that a stored message was pinned to.
    pub fn by_hash(&self, hash: &ContentHash) -> Option<Arc<Package>> {
        let packages = self.packages.read().unwrap_or_else(PoisonError::into_inner);
        packages.iter().find(|package| package.info.hash == *hash).cloned()
    }
}

/// What is kept beside the schema documents.
struct Extra<'a> {
    lists: &'a [CodeList],
    rules: &'a BTreeMap<String, Arc<[u8]>>,
    services: &'a BTreeMap<String, Arc<[u8]>>,
}

/// The package's identity: over its documents and, where there are any, its lists, rules, services and
/// licence files.
fn identity(files: &Files, info: &PackageInfo) -> ContentHash {
    let licences: Vec<_> = licence::identity(&info.licences).collect();
    if [info.lists.len(), info.rules.len(), info.services.len(), licences.len()].iter().all(|&more| more == 0)
    {
        return files.hash();
    }
    let mut parts = vec![("schemata".to_owned(), files.hash())];
    parts.extend(info.lists.iter().map(|list| (format!("{} {}", list.urn, list.version), list.hash)));
    parts.extend(info.rules.iter().map(|rule| (rule.path.clone(), rule.hash)));
    parts.extend(licences);
    parts.extend(info.services.iter().filter_map(|service| Some((service.path.clone(), service.hash?))));
    ContentHash::of_parts(parts.iter().map(|(name, hash)| (name.as_str(), hash.as_bytes().as_slice())))
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

fn stored(folder: &Path, cache: &Arc<Cache>, lists: &Arc<Lists>) -> Result<Package, Diagnostic> {
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
    Ok(Package::new(info, sequence, source, cache.clone(), lists.clone()))
}

/// A shipped profile; a folder without schemas is none.
fn profile(
    folder: &Path,
    cache: &Arc<Cache>,
    lists: &Arc<Lists>,
) -> Result<Option<Package>, Vec<Diagnostic>> {
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
    Ok(Some(Package::new(info, 0, Source::Memory(Arc::new(files)), cache.clone(), lists.clone())))
}
