//! `Debug` of errors. A `main` that returns an error shows only this form, so it ends with the text
//! of the error.
use core::fmt::{self, Display, Formatter, Write};

/// Adds the text of an error to its `Debug` form.
pub(crate) fn debug_text(f: &mut Formatter<'_>, error: &dyn Display) -> fmt::Result {
    // Not the `Debug` of a `str`: `{:#?}` and a width are not for the text.
    f.write_str(": \"")?;
    write!(Escaped(f), "{error}")?;
    f.write_char('"')
}

struct Escaped<'a, 'f>(&'a mut Formatter<'f>);

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.escape_debug().try_for_each(|c| self.0.write_char(c))
    }
}

/// The form of `derive(Debug)`, then the text. A variant in brackets has an error of ours, whose
/// `Debug` has the text already.
macro_rules! debug_error {
    (
        $Error:ident:
        $([$($(#[$cfg:meta])? $Wrap:ident),+])?
        $($Variant:ident $(($value:ident))? $({ $($field:ident),+ })?),+ $(,)?
    ) => {
        impl ::core::fmt::Debug for $Error {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                match self {
                    $($($(#[$cfg])? Self::$Wrap(error) => {
                        return f.debug_tuple(stringify!($Wrap)).field(error).finish();
                    })+)?
                    $(Self::$Variant $(($value))? $({ $($field),+ })? => {
                        debug_error!(@f $Variant $(($value))? $({ $($field),+ })?)
                    })+
                }?;
                $crate::proto::debug::debug_text(f, self)
            }
        }
    };
    (@$f:ident $Variant:ident) => { $f.write_str(stringify!($Variant)) };
    (@$f:ident $Variant:ident ($value:ident)) => {
        $f.debug_tuple(stringify!($Variant)).field($value).finish()
    };
    (@$f:ident $Variant:ident { $($field:ident),+ }) => {
        $f.debug_struct(stringify!($Variant))$(.field(stringify!($field), $field))+.finish()
    };
}
pub(crate) use debug_error;
