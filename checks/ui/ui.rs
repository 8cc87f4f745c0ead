//! What the compiler says to typical mistakes.

#[test]
fn the_compiler_explains_each_mistake() {
    trybuild::TestCases::new().compile_fail("cases/*.rs");
}
