//! What a file uses: every path that occurs in it, resolved against the module it stands in.

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, ExprUnsafe, File, ImplItemFn, Item, ItemExternCrate, ItemImpl, ItemMod, ItemUse,
    Macro, Path, Signature, UseTree,
    spanned::Spanned,
    visit::{self, Visit},
};

/// Something that a file uses.
#[derive(Debug)]
pub(super) struct Used {
    pub(super) line: usize,
    pub(super) what: What,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A path; one inside this crate begins with `crate`.
    Path(Vec<String>),
    /// `unsafe` in any place.
    Unsafe,
}

/// What `file`, which is the module `module` of its crate, uses outside of test code.
pub(super) fn used(file: &File, module: Vec<String>) -> Vec<Used> {
    let mut finder = Finder {
        module,
        found: Vec::new(),
    };
    finder.visit_file(file);
    finder.found
}

struct Finder {
    module: Vec<String>,
    found: Vec<Used>,
}

impl Finder {
    fn path(&mut self, line: usize, segments: Vec<String>) {
        let what = What::Path(self.resolve(segments));
        self.found.push(Used { line, what });
    }

    /// `self` and `super` lead from the module at hand, inline modules included.
    fn resolve(&self, segments: Vec<String>) -> Vec<String> {
        let mut base = self.module.clone();
        let mut rest = segments.iter().peekable();
        match rest.peek().map(|first| first.as_str()) {
            Some("self") => drop(rest.next()),
            Some("super") => {
                while rest.next_if(|segment| *segment == "super").is_some() {
                    base.pop();
                }
            }
            _ => return segments,
        }
        let mut whole = vec!["crate".to_owned()];
        whole.extend(base);
        whole.extend(rest.cloned());
        whole
    }

    fn tree(&mut self, line: usize, before: &[String], tree: &UseTree) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.tree(line, &with(&path.ident), &path.tree),
            UseTree::Name(name) => self.path(line, with(&name.ident)),
            UseTree::Rename(rename) => self.path(line, with(&rename.ident)),
            UseTree::Glob(_) => self.path(line, before.to_vec()),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.tree(line, before, tree);
                }
            }
        }
    }

    /// Paths in the arguments of a macro, which are tokens to the parser.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.macro_path(line, std::mem::take(&mut path));
                    }
                    line = ident.span().start().line;
                    path.push(ident.to_string());
                }
                other => {
                    self.macro_path(line, std::mem::take(&mut path));
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
            colons = 0;
        }
        self.macro_path(line, path);
    }

    fn macro_path(&mut self, line: usize, path: Vec<String>) {
        match path.as_slice() {
            [only] if only == "unsafe" => self.found.push(Used {
                line,
                what: What::Unsafe,
            }),
            // A single word may be anything.
            [] | [_] => {}
            _ => self.path(line, path),
        }
    }

    fn is_unsafe(&mut self, token: Option<&syn::Token![unsafe]>) {
        if let Some(token) = token {
            let line = token.span().start().line;
            self.found.push(Used {
                line,
                what: What::Unsafe,
            });
        }
    }
}

/// `#[cfg(test)]` or `#[test]`.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<Path>()
                    .is_ok_and(|path| path.is_ident("test"))
    })
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Mod(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::ExternCrate(item) => &item.attrs,
            _ => &[],
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.tree(item.span().start().line, &[], &item.tree);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast ItemExternCrate) {
        self.path(item.span().start().line, vec![item.ident.to_string()]);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let segments = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string());
        let segments: Vec<String> = segments.collect();
        if segments.len() > 1 {
            self.path(path.span().start().line, segments);
        }
        visit::visit_path(self, path);
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_expr_unsafe(&mut self, expression: &'ast ExprUnsafe) {
        self.is_unsafe(Some(&expression.unsafe_token));
        visit::visit_expr_unsafe(self, expression);
    }

    fn visit_signature(&mut self, signature: &'ast Signature) {
        self.is_unsafe(signature.unsafety.as_ref());
        visit::visit_signature(self, signature);
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        self.is_unsafe(item.unsafety.as_ref());
        visit::visit_item_impl(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }
}
