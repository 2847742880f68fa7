//! Runtimes that fail: shell scripts around crun or runc.

use super::machine::{Machine, write_program};

/// What every such script knows: `$real`, `$operation` (`version`, `create`, ...), `$id`,
/// `$pid_file`, `$root` (where the runtime keeps its records), and `$here`, a directory.
const BEGINNING: &str = r#"#!/bin/sh
operation= id= pid_file= root=
for word; do
    case $word in
    --version) operation=version ;;
    --pid-file=*) pid_file=${word#*=} ;;
    --root=*) root=${word#*=} ;;
    -*) ;;
    *) if [ -z "$operation" ]; then operation=$word; else id=$word; fi ;;
    esac
done
# Succeeds the first time only.
first_time() {
    mkdir "$here/happened" 2>/dev/null
}
"#;

/// A machine whose runtime does `behaviour` (shell) before it becomes the real one.
pub(super) fn machine(real: &str, behaviour: &str) -> Machine {
    let mut machine = Machine::new(real);
    let path = machine.path("runtime");
    let here = machine.path("").display().to_string();
    let text = format!(
        "{BEGINNING}here={here}\nreal=$(command -v {real})\nbehave() {{\n:\n{behaviour}\n}}\nbehave \"$@\"\n\
            exec \"$real\" \"$@\"\n"
    );
    write_program(&path, &text);
    machine.set_runtime(path.to_str().unwrap());
    machine
}
