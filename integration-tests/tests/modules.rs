//! No published crate has a circle of modules: each file can be read after the files that it uses.
//!
//! A module and its own descendants count as one thing to read: edges between them are left out. The check holds twice: among
//! all modules, and among the top-level modules with everything that is in them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, Item, UseTree,
    visit::{self, Visit},
};

/// How many re-exports of re-exports are followed. Ends at imports of other crates that have the name of a module.
const MAX_RE_EXPORTS: usize = 10;

/// The path of a module, from the root of its crate.
type Module = Vec<String>;
type Edges = BTreeSet<(Module, Module)>;

#[derive(Default)]
struct Crate {
    modules: BTreeMap<Module, Scope>,
    edges: Edges,
}

#[derive(Default)]
struct Scope {
    /// What `use` brings into scope, by name.
    imports: BTreeMap<String, Vec<String>>,
    /// All other paths.
    paths: Vec<Vec<String>>,
}

#[test]
fn no_published_crate_has_a_circle_of_modules() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("crates");
    let mut circles = Vec::new();
    for directory in fs::read_dir(crates).unwrap() {
        let directory = directory.unwrap().path();
        let krate = Crate::read(&directory.join("src/lib.rs"));
        assert!(krate.modules.len() > 1 && !krate.edges.is_empty(), "{directory:?} was not read");
        let name = directory.file_name().unwrap().to_string_lossy().into_owned();
        circles.extend(krate.circles().into_iter().map(|circle| format!("{name}: {circle}")));
    }
    assert!(circles.is_empty(), "{} circles:\n{}", circles.len(), circles.join("\n"));
}

#[test]
fn a_circle_is_found_through_imports_re_exports_and_children() {
    let circle_of = |files: &[(&str, &str)]| {
        let directory = std::env::temp_dir().join(format!("modules-{}-{}", std::process::id(), files.len()));
        for (file, text) in files {
            let path = directory.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let circles = Crate::read(&directory.join("lib.rs")).circles();
        fs::remove_dir_all(directory).unwrap();
        circles
    };
    let root = "mod a; mod b; pub use a::A; pub use b::B;";
    assert_eq!(
        circle_of(&[("lib.rs", root), ("a.rs", "use crate::B; pub struct A(B);"), ("b.rs", "pub struct B;")]).len(),
        0
    );
    let through_re_exports =
        [("lib.rs", root), ("a.rs", "use crate::B; pub struct A;"), ("b.rs", "pub struct B; fn b() { super::a::A; }")];
    assert!(!circle_of(&through_re_exports).is_empty());
    let through_children = [
        ("lib.rs", root),
        ("a.rs", "mod inner; pub struct A;"),
        ("a/inner.rs", "use crate::B;"),
        ("b.rs", "use crate::A; pub struct B;"),
    ];
    assert!(!circle_of(&through_children).is_empty());
}

impl Crate {
    fn read(root: &Path) -> Self {
        let mut krate = Self::default();
        krate.read_module(Vec::new(), root, root.parent().unwrap());
        let mut edges = Edges::new();
        for (module, scope) in &krate.modules {
            for path in scope.paths.iter().chain(scope.imports.values()) {
                let Some(used) = krate.resolve(module, path, 0) else { continue };
                if !module.starts_with(&used) && !used.starts_with(module) {
                    edges.insert((module.clone(), used));
                }
            }
        }
        krate.edges = edges;
        krate
    }

    fn read_module(&mut self, module: Module, file: &Path, children: &Path) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        self.read_items(module, &parsed.items, children);
    }

    fn read_items(&mut self, module: Module, items: &[Item], children: &Path) {
        let mut scope = Scope::default();
        for item in items {
            match item {
                Item::Mod(child) if is_test(&child.attrs) => {}
                Item::Mod(child) => {
                    let name = child.ident.to_string();
                    let path = [&module[..], std::slice::from_ref(&name)].concat();
                    let grandchildren = children.join(&name);
                    match &child.content {
                        Some((_, items)) => self.read_items(path, items, &grandchildren),
                        None => {
                            let beside: PathBuf = children.join(format!("{name}.rs"));
                            let file = if beside.exists() { beside } else { grandchildren.join("mod.rs") };
                            self.read_module(path, &file, &grandchildren);
                        }
                    }
                }
                Item::Use(import) => flatten(&import.tree, &mut Vec::new(), &mut scope.imports),
                other => scope.visit_item(other),
            }
        }
        self.modules.insert(module, scope);
    }

    /// Returns the module that defines what a path names, if it is in this crate.
    fn resolve(&self, module: &Module, path: &[String], depth: usize) -> Option<Module> {
        let mut at = module.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => (at, rest) = (Vec::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|segment| segment == "super") {
                    at.pop();
                    rest = &rest[1..];
                }
            }
            _ => {}
        }
        while let Some((segment, others)) = rest.split_first() {
            let child = [&at[..], std::slice::from_ref(segment)].concat();
            if self.modules.contains_key(&child) {
                (at, rest) = (child, others);
            } else if let Some(import) = self.modules[&at].imports.get(segment).filter(|_| depth < MAX_RE_EXPORTS) {
                return self.resolve(&at, &[&import[..], others].concat(), depth + 1);
            } else {
                // An item of this module, or one of another crate.
                break;
            }
        }
        Some(at)
    }

    fn circles(&self) -> Vec<String> {
        let rooms: Edges = (self.edges.iter())
            .filter(|(from, to)| !from.is_empty() && !to.is_empty() && from[0] != to[0])
            .map(|(from, to)| (from[..1].to_vec(), to[..1].to_vec()))
            .collect();
        let circles: BTreeSet<_> = [circles(&self.edges), circles(&rooms)].concat().into_iter().collect();
        circles
            .iter()
            .map(|circle| circle.iter().map(|module| module.join("::")).collect::<Vec<_>>().join(" -> "))
            .collect()
    }
}

/// Returns a shortest circle through each module that is in one, each circle once.
fn circles(edges: &Edges) -> Vec<Vec<Module>> {
    let mut found: BTreeMap<BTreeSet<Module>, Vec<Module>> = BTreeMap::new();
    for (start, _) in edges {
        let mut paths = vec![vec![start.clone()]];
        let mut seen = BTreeSet::new();
        while let Some(path) = (!paths.is_empty()).then(|| paths.remove(0)) {
            for (_, to) in edges.iter().filter(|(from, _)| Some(from) == path.last()) {
                let longer = [&path[..], std::slice::from_ref(to)].concat();
                if to == start {
                    found.entry(path.iter().cloned().collect()).or_insert(longer);
                    paths.clear();
                    break;
                }
                if seen.insert(to.clone()) {
                    paths.push(longer);
                }
            }
        }
    }
    found.into_values().collect()
}

fn flatten(tree: &UseTree, prefix: &mut Vec<String>, imports: &mut BTreeMap<String, Vec<String>>) {
    let mut import = |name: String, last: Option<String>| {
        imports.insert(name, prefix.iter().cloned().chain(last).collect());
    };
    match tree {
        UseTree::Name(name) if name.ident == "self" => import(prefix.last().cloned().unwrap_or_default(), None),
        UseTree::Name(name) => import(name.ident.to_string(), Some(name.ident.to_string())),
        UseTree::Rename(rename) => import(rename.rename.to_string(), Some(rename.ident.to_string())),
        UseTree::Glob(_) => import(format!("*{}", prefix.join("::")), None),
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            flatten(&path.tree, prefix, imports);
            prefix.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, prefix, imports)),
    }
}

impl<'ast> Visit<'ast> for Scope {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, import: &'ast syn::ItemUse) {
        flatten(&import.tree, &mut Vec::new(), &mut self.imports);
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}
