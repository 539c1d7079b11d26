//! The heap of a program that is linked with musl, whose own allocator asks the kernel for a page per size of object and gives
//! it back as often. The first mebibyte is part of the program: few commands need more, so few ask the kernel at all.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

use dlmalloc::{Allocator, Dlmalloc};

const FIRST: usize = 1 << 20;
const PAGE: usize = 4096;
/// Of [`Allocator::alloc`]: memory that is not given back.
const EXTERN: u32 = 1;

/// Pages that come into being when they are touched, as all of a program's memory that begins as zeros.
#[repr(C, align(4096))]
struct Pages(UnsafeCell<[u8; FIRST]>);

// SAFETY: all of it is handed out once, by whoever has turned TAKEN, and its address is all that is taken before.
unsafe impl Sync for Pages {}

static PAGES: Pages = Pages(UnsafeCell::new([0; FIRST]));
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Where the heap gets its memory.
struct Source;

// SAFETY: what it gives is fresh, readable, writable and zeroed memory of the length that it says, and nobody else's.
unsafe impl Allocator for Source {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        if size <= FIRST && !TAKEN.swap(true, Ordering::Relaxed) {
            return (PAGES.0.get().cast(), FIRST, EXTERN);
        }
        // SAFETY: a new anonymous mapping, where the kernel likes.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        match start == libc::MAP_FAILED {
            true => (std::ptr::null_mut(), 0, 0),
            false => (start.cast(), size, 0),
        }
    }

    fn remap(&self, start: *mut u8, old: usize, new: usize, can_move: bool) -> *mut u8 {
        let flags = if can_move { libc::MREMAP_MAYMOVE } else { 0 };
        // SAFETY: a mapping that `alloc` has made: the pages of the program are EXTERN, and never come here.
        let moved = unsafe { libc::mremap(start.cast(), old, new, flags) };
        match moved == libc::MAP_FAILED {
            true => std::ptr::null_mut(),
            false => moved.cast(),
        }
    }

    fn free_part(&self, start: *mut u8, old: usize, new: usize) -> bool {
        // SAFETY: the end of a mapping that `alloc` has made, which is not in use any more.
        unsafe { libc::munmap(start.add(new).cast(), old - new) == 0 }
    }

    fn free(&self, start: *mut u8, size: usize) -> bool {
        // SAFETY: a mapping that `alloc` has made, which is not in use any more.
        unsafe { libc::munmap(start.cast(), size) == 0 }
    }

    fn can_release_part(&self, flags: u32) -> bool {
        flags & EXTERN == 0
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        PAGE
    }
}

/// The heap, for `#[global_allocator]`.
pub struct Heap {
    heap: UnsafeCell<Dlmalloc<Source>>,
    locked: AtomicBool,
}

// SAFETY: the heap is reached by `with` alone, which lets one at a time have it.
unsafe impl Sync for Heap {}

impl Heap {
    /// One for a whole program: there may only be one, since the first pages are the program's.
    #[allow(clippy::new_without_default)]
    #[must_use]
    pub const fn new() -> Heap {
        Heap {
            heap: UnsafeCell::new(Dlmalloc::new_with_allocator(Source)),
            locked: AtomicBool::new(false),
        }
    }

    /// vzrun has one thread, so that nobody ever waits here; and a fork finds nothing locked.
    fn with<T>(&self, work: impl FnOnce(&mut Dlmalloc<Source>) -> T) -> T {
        while self.locked.swap(true, Ordering::Acquire) {
            std::hint::spin_loop();
        }
        // SAFETY: whoever has locked it is the only one here, and `work` allocates nothing by itself.
        let result = work(unsafe { &mut *self.heap.get() });
        self.locked.store(false, Ordering::Release);
        result
    }
}

// SAFETY: the calls are passed on to an allocator that keeps the rules of this trait, one at a time.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the size is not 0, by the rules of GlobalAlloc.
        self.with(|heap| unsafe { heap.malloc(layout.size(), layout.align()) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for `alloc`.
        self.with(|heap| unsafe { heap.calloc(layout.size(), layout.align()) })
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller has this block from here, of this layout.
        self.with(|heap| unsafe { heap.free(start, layout.size(), layout.align()) });
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as for `dealloc`.
        self.with(|heap| unsafe { heap.realloc(start, layout.size(), layout.align(), size) })
    }
}
