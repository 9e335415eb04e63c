//! Ctrl-C in a console, and the console being closed. The service control manager's stop comes with the service.

pub(super) async fn stop_requested() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
