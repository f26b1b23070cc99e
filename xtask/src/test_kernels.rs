use crate::error::Error;
#[derive(clap::Args)]
pub(crate) struct Args {}
pub(crate) fn run(Args {}: Args) -> Result<(), Error> {
    Ok(())
}
