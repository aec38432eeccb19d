//! Settings with a closed set of values.

/// Declares an enum whose variants are written as the texts beside them.
///
/// ```
/// catchment_settings::choice! {
///     /// Where state is kept.
///     Store {
///         /// In etcd.
///         Etcd = "etcd",
///         /// In memory.
///         Memory = "memory",
///     }
/// }
/// use catchment_settings::Value;
/// assert_eq!(Store::parse("ETCD"), Ok(Store::Etcd));
/// assert_eq!(Store::EXPECTED, "one of etcd memory");
/// ```
#[macro_export]
macro_rules! choice {
    ($(#[doc = $about:literal])+ $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+ }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl $name {
            /// All there are, in the order of the documentation.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The text this is written as.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::Value for $name {
            const KIND: &'static str = concat!($("`", $text, "` "),+);
            const EXPECTED: &'static str = concat!("one of", $(" ", $text),+);

            fn parse(text: &str) -> Result<Self, $crate::Refusal> {
                let named = |choice: &&Self| choice.as_str().eq_ignore_ascii_case(text);
                Self::ALL.iter().find(named).copied().ok_or($crate::Refusal::Unexpected)
            }

            fn render(&self) -> String {
                self.as_str().to_owned()
            }
        }
    };
}
