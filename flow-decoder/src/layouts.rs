//! Layouts by content: equal ones are one [`Layout`], whoever announced them, and are compiled when data first needs it.
//!
//! A node that is told of 200,000 templates decodes by few of them, so a layout is its fields, and its plan is there as long as
//! decoders hold it. Only the store holds layouts: where it forgets the last exporter of one, the layout leaves the table, and the octets
//! that are counted are those that are held.

use std::collections::HashMap;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::exporter_store::lock;
use crate::plan::Plan;
use crate::template::Template;

/// What a layout takes beside its fields: itself, its template, its place in the table, what the allocator adds.
const OCTETS: usize = 180;

/// A template's layout and, while decoders use it, its plan.
#[derive(Debug)]
pub(crate) struct Layout {
    template: Arc<Template>,
    plan: Mutex<Weak<Plan>>,
    table: Arc<Table>,
}

impl Layout {
    pub(crate) fn template(&self) -> &Arc<Template> {
        &self.template
    }

    /// The plan, compiled where nobody holds it.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        let mut held = lock(&self.plan);
        held.upgrade().unwrap_or_else(|| {
            let plan = Arc::new(Plan::compile(self.template.clone()));
            *held = Arc::downgrade(&plan);
            plan
        })
    }

    fn octets(&self) -> usize {
        Self::octets_of(&self.template)
    }

    /// Octets that the layout of a template takes.
    pub(crate) fn octets_of(template: &Template) -> usize {
        OCTETS + size_of_val(template.fields())
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        self.table.octets.fetch_sub(self.octets(), Ordering::Relaxed);
        let mut by_content = lock(&self.table.by_content);
        // Meanwhile somebody may have announced it again: then its place is another layout's.
        let is_own = |known: &Weak<Self>| ptr::eq(known.as_ptr(), self);
        if by_content.get(&*self.template).is_some_and(is_own) {
            by_content.remove(&*self.template);
        }
    }
}

/// All layouts in use.
#[derive(Debug, Default)]
pub(crate) struct Layouts(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    /// No layout may be dropped under this lock.
    by_content: Mutex<HashMap<Arc<Template>, Weak<Layout>>>,
    octets: AtomicUsize,
}

impl Layouts {
    /// The one layout that equals `template`.
    pub(crate) fn intern(&self, template: &Arc<Template>) -> Arc<Layout> {
        let mut by_content = lock(&self.0.by_content);
        if let Some(layout) = by_content.get(&**template).and_then(Weak::upgrade) {
            return layout;
        }
        let (template, table) = (template.clone(), self.0.clone());
        let layout = Arc::new(Layout { template: template.clone(), plan: Mutex::default(), table });
        self.0.octets.fetch_add(layout.octets(), Ordering::Relaxed);
        by_content.insert(template, Arc::downgrade(&layout));
        layout
    }

    /// Octets of memory that they take, without plans.
    pub(crate) fn octets(&self) -> usize {
        self.0.octets.load(Ordering::Relaxed)
    }

    /// Distinct layouts that are remembered.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.0.by_content).len()
    }
}
